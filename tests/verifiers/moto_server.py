"""moto_server, and what S3 does that moto 5 does not: a multipart upload keeps the lock that it was begun with, no one
shortens a retention without the right to, and an upload that is gone is answered as one. Its clock can be turned: it is
ahead of this machine's by the seconds in the file that INTELLISTOR_TEST_MOTO_CLOCK names.

Arguments are moto_server's."""

import datetime
import email.utils
import os
import sys

import flask
import moto.core.utils
import moto.s3.models as models
import moto.s3.responses as responses
from moto.moto_server.werkzeug_app import MotoRequestHandler
from moto.s3.exceptions import LockNotEnabled, NoSuchUpload, S3ClientError
from moto.server import main

CLOCK = os.environ.get("INTELLISTOR_TEST_MOTO_CLOCK")


def utcnow():
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    if not CLOCK:
        return now
    with open(CLOCK) as clock:
        return now + datetime.timedelta(seconds=float(clock.read() or 0))


def date_time_string(self, timestamp=None):
    return email.utils.format_datetime(utcnow().replace(tzinfo=datetime.timezone.utc), usegmt=True)


moto.core.utils.utcnow = models.utcnow = utcnow
MotoRequestHandler.date_time_string = date_time_string

LOCK = {
    "lock_mode": "x-amz-object-lock-mode",
    "lock_until": "x-amz-object-lock-retain-until-date",
    "lock_legal_status": "x-amz-object-lock-legal-hold",
}


class Locked(S3ClientError):
    def __init__(self):
        super().__init__("AccessDenied", "Access Denied because object protected by object lock.")


class Replaced:
    """Methods of S3Backend."""

    def create_multipart_upload(self, bucket_name, *rest):
        lock = {name: flask.request.headers.get(header) for name, header in LOCK.items()}
        if any(lock.values()) and not self.get_bucket(bucket_name).object_lock_enabled:
            raise LockNotEnabled
        upload = original["create_multipart_upload"](self, bucket_name, *rest)
        upload.lock, upload.began, upload.sha256 = lock, utcnow(), {}
        return upload

    def upload_part(self, bucket_name, multipart_id, part_id, value):
        known(self, bucket_name, multipart_id)
        sent = flask.request.headers.get("x-amz-checksum-sha256")
        self.get_bucket(bucket_name).multiparts[multipart_id].sha256[part_id] = sent
        return original["upload_part"](self, bucket_name, multipart_id, part_id, value)

    def complete_multipart_upload(self, bucket_name, multipart_id, body):
        lock = self.get_bucket(bucket_name).multiparts[multipart_id].lock
        key = original["complete_multipart_upload"](self, bucket_name, multipart_id, body)
        if key is not None:
            # Without its upload, which a repeated completion is not to find.
            vars(key).update(lock, multipart=None)
        return key

    def put_object_retention(self, bucket_name, key_name, version_id, retention):
        key = self.get_object(bucket_name, key_name, version_id=version_id)
        mode, until = retention
        is_weaker = (key.lock_until or "") > (until or "") or key.lock_mode == "COMPLIANCE" != mode
        held, key.lock_legal_status = key.lock_legal_status, None
        is_locked = key.is_locked(governance_bypass=False)
        key.lock_legal_status = held
        if is_weaker and is_locked:
            raise Locked
        original["put_object_retention"](self, bucket_name, key_name, version_id, retention)


def known(backend, bucket_name, multipart_id):
    if multipart_id not in backend.get_bucket(bucket_name).multiparts:
        raise NoSuchUpload(upload_id=multipart_id)


original = {}
for name, method in vars(Replaced).items():
    if not name.startswith("_"):
        original[name] = getattr(models.S3Backend, name)
        setattr(models.S3Backend, name, method)

post = responses.S3Response._key_response_post


def post_to_an_upload_that_is_there(self, request, body, bucket_name, query, key_name):
    if "uploadId" in query:
        known(self.backend, bucket_name, query["uploadId"][0])
    return post(self, request, body, bucket_name, query, key_name)


responses.S3Response._key_response_post = post_to_an_upload_that_is_there

list_parts = responses.S3Response.list_parts


def with_names_and_checksums_of_s3(self):
    status, headers, body = list_parts(self)
    body = body.replace("ListPartsResponse", "ListPartsResult")
    upload = self.backend.get_bucket(self.bucket_name).multiparts[self._get_param("uploadId")]
    for number, sha256 in upload.sha256.items():
        if sha256:
            part = f"<PartNumber>{number}</PartNumber>"
            body = body.replace(part, f"{part}<ChecksumSHA256>{sha256}</ChecksumSHA256>")
    return status, headers, body


responses.S3Response.list_parts = with_names_and_checksums_of_s3

list_multipart_uploads = responses.S3Response.list_multipart_uploads


def with_their_times(self):
    """moto says of each upload that it was begun in 2010."""
    status, headers, body = list_multipart_uploads(self)
    uploads = self.backend.get_bucket(self.bucket_name).multiparts
    for upload in uploads.values():
        before, found, after = body.partition(f"<UploadId>{upload.id}</UploadId>")
        began = upload.began.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        body = before + found + after.replace("2010-11-10T20:48:33.000Z", began, 1)
    return status, headers, body


responses.S3Response.list_multipart_uploads = with_their_times

if __name__ == "__main__":
    main(sys.argv[1:])
