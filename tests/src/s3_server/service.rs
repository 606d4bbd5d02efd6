//! `s3s_fs::FileSystem` with S3's own answers where that has none or wrong ones (0.14): it keeps objects and the
//! bytes of parts, and all that is said of uploads is ours. Operations that are not here are not implemented.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use s3s::dto::*;
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use sha2::{Digest, Sha256};

use super::traffic::{Counted, Dialect, Done, Traffic};
use super::uploads::{StoredPart, UploadState};

/// S3 gives a thousand. Pages this small make every listing go through several.
const PAGE: usize = 2;

type Answer<T> = S3Result<S3Response<T>>;

#[derive(Debug, Clone)]
pub(super) struct HonestService {
    /// What `files` keeps, a folder for each bucket.
    pub(super) folder: PathBuf,
    pub(super) files: Arc<FileSystem>,
    pub(super) traffic: Arc<Traffic>,
    pub(super) completing: Arc<tokio::sync::Mutex<()>>,
}

impl HonestService {
    /// Whether an object is to be put only where there is none.
    fn heeds(&self, is_conditional: bool) -> S3Result<bool> {
        if is_conditional && self.traffic.speaks(Dialect::NoConditions) {
            return Err(s3_error!(NotImplemented, "If-None-Match is not implemented"));
        }
        Ok(is_conditional && !self.traffic.speaks(Dialect::IgnoresConditions))
    }

    /// Does `work` to its end, also when the client goes away meanwhile.
    async fn carried_out<T: Send + 'static>(
        &self,
        work: impl Future<Output = Answer<T>> + Send + 'static,
    ) -> Answer<T> {
        let busy = Counted::busy(self.traffic.clone());
        let work = async move {
            let _busy = busy;
            work.await
        };
        tokio::spawn(work).await.map_err(|panic| s3_error!(panic, InternalError))?
    }

    async fn store_object(self, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        let PutObjectInput { bucket, key, if_none_match, .. } = &request.input;
        let key = key.clone();
        // One at a time, so that of two conditional puts the second sees the first.
        let completing = self.completing.clone();
        let _one_after_the_other = completing.lock().await;
        if self.heeds(if_none_match.is_some())? && self.folder.join(bucket).join(&key).exists() {
            return Err(s3_error!(PreconditionFailed));
        }
        let mut request = request;
        request.input.if_none_match = None;
        let bucket = request.input.bucket.clone();
        let answer = self.files.put_object(request).await?;
        self.traffic.change(|state| {
            state.composites.remove(&(bucket, key.clone()));
            state.log.push(Done::Put { key });
        });
        Ok(answer)
    }

    async fn store_part(self, request: S3Request<UploadPartInput>, bytes: u64) -> Answer<UploadPartOutput> {
        let UploadPartInput {
            bucket, key, upload_id: id, part_number: number, checksum_sha256: sha256, ..
        } = &request.input;
        let (bucket, key, id, number, sha256) =
            (bucket.clone(), key.clone(), id.clone(), *number, sha256.clone());
        // One at a time: of two that send the same part, what is said of it must be what is kept of it.
        let completing = self.completing.clone();
        let _one_after_the_other = completing.lock().await;
        self.traffic.change(|state| state.uploads.open(&bucket, &key, &id).map(|_| ()))?;
        let mut answer = self.files.upload_part(request).await?;
        let etag = answer.output.e_tag.clone().expect("the file system makes one");
        let part = StoredPart { bytes, etag, sha256: sha256.clone(), stored: SystemTime::now() };
        self.traffic.change(|state| {
            state.uploads.open(&bucket, &key, &id)?.parts.insert(number, part);
            state.log.push(Done::PartStored { id, number: number as u32 });
            Ok::<_, S3Error>(())
        })?;
        answer.output.checksum_sha256 = sha256;
        Ok(answer)
    }

    async fn complete(
        self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        let CompleteMultipartUploadInput {
            bucket,
            key,
            upload_id: id,
            multipart_upload: parts,
            if_none_match,
            ..
        } = &request.input;
        let (bucket, key, id) = (bucket.clone(), key.clone(), id.clone());
        // Whoever asks for the same while it is being done, for a client died, learns what came of it.
        let completing = self.completing.clone();
        let _one_after_the_other = completing.lock().await;
        let parts = parts.as_ref().and_then(|upload| upload.parts.as_deref()).unwrap_or_default();
        let (count, equal) = (parts.len(), self.traffic.speaks(Dialect::EqualParts));
        self.traffic.change(|state| state.uploads.open(&bucket, &key, &id)?.verify(parts, equal))?;
        if self.heeds(if_none_match.is_some())? && self.folder.join(&bucket).join(&key).exists() {
            return Err(s3_error!(PreconditionFailed));
        }
        let mut request = request;
        request.input.if_none_match = None;
        let answer = self.files.complete_multipart_upload(request).await?;
        self.traffic.change(|state| {
            let upload = state.uploads.open(&bucket, &key, &id)?;
            let composite = upload.composite(count);
            upload.end(UploadState::Completed);
            state.composites.remove(&(bucket.clone(), key.clone()));
            state.composites.extend(composite.map(|composite| ((bucket, key.clone()), composite)));
            state.log.push(Done::Completed { key, id });
            Ok(answer)
        })
    }
}

#[async_trait::async_trait]
impl S3 for HonestService {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> Answer<PutObjectOutput> {
        let mut request = request;
        let sha256 = request.input.checksum_sha256.clone();
        request.input.body = Some(blob(&received(request.input.body, sha256.as_deref()).await?));
        self.carried_out(self.clone().store_object(request)).await
    }

    /// `s3s_fs` sends 4 KiB at a time, each read by another thread: it takes more of the processors than the
    /// program that is measured.
    async fn get_object(&self, request: S3Request<GetObjectInput>) -> Answer<GetObjectOutput> {
        let path = self.folder.join(&request.input.bucket).join(&request.input.key);
        let mut request = request;
        request.input.range = request.input.range.filter(|_| !self.traffic.speaks(Dialect::NoRanges));
        let mut answer = self.files.get_object(request).await?;
        let GetObjectOutput { content_length, content_range, .. } = &answer.output;
        let first =
            content_range.as_deref().and_then(|range| range.strip_prefix("bytes ")?.split('-').next());
        let first = first.map_or(0, |first| first.parse().expect("a number"));
        let length = content_length.expect("the file system tells it") as usize;
        let read = tokio::task::spawn_blocking(move || bytes_of(&path, first, length)).await;
        let body = read.map_err(|panic| s3_error!(panic, InternalError))?;
        answer.output.body = Some(blob(&body.map_err(|error| s3_error!(error, InternalError))?));
        Ok(answer)
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> Answer<HeadObjectOutput> {
        let HeadObjectInput { bucket, key, checksum_mode, .. } = &request.input;
        let of = (bucket.clone(), key.clone());
        let is_asked = checksum_mode.is_some();
        let mut answer = self.files.head_object(request).await?;
        answer.output.checksum_sha256 =
            self.traffic.change(|state| state.composites.get(&of).cloned()).filter(|_| is_asked);
        Ok(answer)
    }

    async fn list_objects_v2(&self, request: S3Request<ListObjectsV2Input>) -> Answer<ListObjectsV2Output> {
        let mut request = request;
        let speaks = |dialect| self.traffic.speaks(dialect);
        let asked = request.input.continuation_token.clone();
        let pages =
            [Dialect::NoStartAfter, Dialect::EmptyFirstPage, Dialect::EndlessPages, Dialect::SamePage];
        if pages.into_iter().any(speaks) {
            request.input.max_keys = Some(PAGE as i32);
        }
        if speaks(Dialect::NoStartAfter) || speaks(Dialect::SamePage) {
            request.input.start_after = None;
        }
        if speaks(Dialect::SamePage) {
            request.input.continuation_token = None;
        }
        if speaks(Dialect::EndlessPages) || speaks(Dialect::EmptyFirstPage) && asked.is_none() {
            // Tokens are keys to the file system, and each of these comes before all that are used.
            let next = format!("!{}", asked.unwrap_or_default());
            return Ok(S3Response::new(ListObjectsV2Output {
                is_truncated: Some(true),
                next_continuation_token: Some(next),
                key_count: Some(0),
                name: Some(request.input.bucket),
                prefix: request.input.prefix,
                ..ListObjectsV2Output::default()
            }));
        }
        self.files.list_objects_v2(request).await
    }

    /// Ours never asks for this; the peers in benchmarks do.
    async fn get_bucket_location(
        &self,
        request: S3Request<GetBucketLocationInput>,
    ) -> Answer<GetBucketLocationOutput> {
        self.files.get_bucket_location(request).await
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> Answer<HeadBucketOutput> {
        self.files.head_bucket(request).await
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> Answer<DeleteObjectOutput> {
        self.files.delete_object(request).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> Answer<CreateMultipartUploadOutput> {
        let (bucket, key) = (request.input.bucket.clone(), request.input.key.clone());
        let answer = self.files.create_multipart_upload(request).await?;
        let id = answer.output.upload_id.clone().expect("the file system makes one");
        self.traffic.change(|state| {
            state.uploads.begin(id.clone(), bucket, key.clone());
            state.log.push(Done::Begun { key, id });
        });
        Ok(answer)
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> Answer<UploadPartOutput> {
        let mut request = request;
        let UploadPartInput { bucket, key, upload_id, checksum_sha256, .. } = &request.input;
        self.traffic.change(|state| state.uploads.open(bucket, key, upload_id).map(|_| ()))?;
        let sha256 = checksum_sha256.clone();
        let body = received(request.input.body, sha256.as_deref()).await?;
        request.input.body = Some(blob(&body));
        self.carried_out(self.clone().store_part(request, body.len() as u64)).await
    }

    async fn list_parts(&self, request: S3Request<ListPartsInput>) -> Answer<ListPartsOutput> {
        let ListPartsInput { bucket, key, upload_id, part_number_marker, .. } = request.input;
        let parts = self
            .traffic
            .change(|state| Ok::<_, S3Error>(state.uploads.open(&bucket, &key, &upload_id)?.parts.clone()))?;
        let marker = part_number_marker.filter(|_| !self.traffic.speaks(Dialect::SamePage)).unwrap_or(0);
        let rest = parts.into_iter().filter(|(number, _)| *number > marker);
        let rest: Vec<_> = rest.collect();
        let page = rest.iter().take(PAGE).map(|(number, part)| Part {
            part_number: Some(*number),
            size: Some(part.bytes as i64),
            e_tag: Some(part.etag.clone()),
            checksum_sha256: part.sha256.clone(),
            last_modified: Some(part.stored.into()),
            ..Part::default()
        });
        let page: Vec<_> = page.collect();
        Ok(S3Response::new(ListPartsOutput {
            is_truncated: Some(rest.len() > PAGE),
            next_part_number_marker: page.last().and_then(|part| part.part_number),
            parts: Some(page),
            bucket: Some(bucket),
            key: Some(key),
            upload_id: Some(upload_id),
            ..ListPartsOutput::default()
        }))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> Answer<ListMultipartUploadsOutput> {
        let ListMultipartUploadsInput { bucket, prefix, key_marker, upload_id_marker, .. } = request.input;
        let key_marker = key_marker.filter(|_| !self.traffic.speaks(Dialect::SamePage));
        let after = (key_marker.as_deref().unwrap_or_default(), upload_id_marker.as_deref());
        let (page, more) = self.traffic.change(|state| {
            let rest = state.uploads.listed(&bucket, prefix.as_deref().unwrap_or_default(), after);
            let page = rest.iter().take(PAGE).map(|upload| MultipartUpload {
                key: Some(upload.seen.key.clone()),
                upload_id: Some(upload.seen.id.clone()),
                initiated: Some(upload.began.into()),
                ..MultipartUpload::default()
            });
            (page.collect::<Vec<_>>(), rest.len() > PAGE)
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            is_truncated: Some(more),
            next_key_marker: page.last().and_then(|upload| upload.key.clone()),
            next_upload_id_marker: page.last().and_then(|upload| upload.upload_id.clone()),
            uploads: Some(page),
            bucket: Some(bucket),
            prefix,
            ..ListMultipartUploadsOutput::default()
        }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> Answer<CompleteMultipartUploadOutput> {
        self.carried_out(self.clone().complete(request)).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> Answer<AbortMultipartUploadOutput> {
        let AbortMultipartUploadInput { bucket, key, upload_id: id, .. } = &request.input;
        self.traffic.change(|state| {
            state.uploads.open(bucket, key, id)?.end(UploadState::Aborted);
            state.log.push(Done::Aborted { key: key.clone(), id: id.clone() });
            Ok::<_, S3Error>(())
        })?;
        self.files.abort_multipart_upload(request).await
    }
}

/// A body, once it is known to be what was signed and announced.
async fn received(body: Option<StreamingBlob>, sha256: Option<&str>) -> S3Result<Bytes> {
    let body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
    let body = s3s::Body::from(body).collect().await.map_err(|_| {
        let mut error = S3Error::new(S3ErrorCode::Custom("XAmzContentSHA256Mismatch".into()));
        error.set_status_code(StatusCode::BAD_REQUEST);
        error
    })?;
    let body = body.to_bytes();
    if sha256.is_some_and(|announced| announced != STANDARD.encode(Sha256::digest(&body))) {
        return Err(s3_error!(BadDigest, "The SHA256 you specified did not match the calculated checksum."));
    }
    Ok(body)
}

fn bytes_of(path: &Path, first: u64, length: usize) -> std::io::Result<Bytes> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(first))?;
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes)?;
    Ok(bytes.into())
}

fn blob(body: &Bytes) -> StreamingBlob {
    s3s::Body::from(body.clone()).into()
}
