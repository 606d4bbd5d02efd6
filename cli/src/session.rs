//! What every command works with.

mod backups;

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use intellistor::doctor::StoreSettings;
use intellistor::{
    Addressing, CancellationToken, Catalog, Error, Identity, Machine, OpenOptions, Policy, Recipients,
    RunOptions, S3Options, StoreUrl, Throttle,
};

use crate::environment::{self, Environment, Start};
use crate::failure::Failure;
use crate::keys::{self, Purpose};
use crate::restore_command::{PolicyWords, RestoreCommand};
use crate::screen::Screen;
use crate::selection::{PolicySelection, SealArgument};
use crate::zone;

const BUCKET: &str = "AWS_S3_BUCKET";
const ADDRESSING: &str = "INTELLISTOR_S3_ADDRESSING";
/// Names the machine that backs up, where machines come and go.
const MACHINE: &str = "INTELLISTOR_MACHINE";
const MOST_MACHINE_BYTES: usize = 128;
const EQUAL_PARTS: &str = "INTELLISTOR_S3_EQUAL_PARTS";

/// A run of the program.
#[derive(Clone)]
pub(crate) struct Session {
    /// Variables.
    pub(crate) environment: Environment,
    /// Whether the variables are those of one store, and not the process's own.
    pub(crate) is_of_one_store: bool,
    /// `--env-file`, if it was given.
    pub(crate) env_file: Option<PathBuf>,
    /// Standard error.
    pub(crate) screen: Screen,
    /// Who started the program.
    pub(crate) start: Start,
    /// Cancelled by Ctrl-C.
    pub(crate) cancel: CancellationToken,
}

impl Session {
    /// The policy in a file.
    pub(crate) fn policy(&self, file: &Path) -> Result<Policy, Failure> {
        let policy = Policy::load(file)?;
        self.start.trust("the policy", file, &self.screen)?;
        Ok(policy)
    }

    /// The policy that is meant, for what reads its backups. Where only its id is known, it has no paths.
    pub(crate) fn selected_policy(&self, selection: &PolicySelection) -> Result<Policy, Failure> {
        let named = &selection.policy;
        let mut policy = match (&named.policy, &named.policy_id) {
            (Some(file), _) => self.policy(file)?,
            (None, id) => Policy::without_paths(id.clone().unwrap_or_default())?,
        };
        if let Some(store) = &selection.store {
            policy.store = Some(store.clone());
        }
        Ok(policy)
    }

    /// The policy's store, which must exist, and the identity that opens its backups.
    pub(crate) async fn open(&self, policy: &Policy) -> Result<(Catalog, Identity), Failure> {
        let url = self.store_url(policy)?;
        let key = keys::user_key(&self.environment, Purpose::Open, &self.screen)?;
        Ok((self.open_existing(&url, Some(policy)).await?, key.into()))
    }

    /// The store that is named, or that the environment names, whatever policies are in it.
    pub(crate) async fn open_any(&self, store: Option<&StoreUrl>) -> Result<Catalog, Failure> {
        self.open_existing(&self.store_or_default(store)?, None).await
    }

    /// The policy's store, and the recipients of a backup. A passphrase that is easily guessed is refused.
    pub(crate) async fn open_to_seal(
        &self,
        policy: &Policy,
        seal: &SealArgument,
    ) -> Result<(Catalog, Recipients), Failure> {
        let url = self.store_url(policy)?;
        let key = keys::user_key(&self.environment, Purpose::Seal, &self.screen)?;
        if let Some(weakness) = key.weakness().filter(|_| !seal.weak_passphrase) {
            return Err(Failure::configuration(format!(
                "the passphrase in {} is easily guessed by anyone who gets hold of a backup: {weakness}",
                environment::PASSPHRASE
            ))
            .hint(
                "use a longer one, of several words, or a key that `backup-client key-create` creates. \
                 --weak-passphrase uses it anyway. Restores always accept it",
            ));
        }
        Ok((self.open_store(&url, policy).await?, key.into()))
    }

    /// The policy's store, and the identity where one is configured, for what needs no key and says more with one.
    pub(crate) async fn open_with_key_if_any(
        &self,
        policy: &Policy,
    ) -> Result<(Catalog, Option<Identity>), Failure> {
        let catalog = self.open_existing(&self.store_url(policy)?, Some(policy)).await?;
        let key = match keys::is_configured(&self.environment)? {
            false => None,
            true => match keys::user_key(&self.environment, Purpose::Open, &self.screen) {
                Ok(key) => Some(key.into()),
                Err(failure) => {
                    self.screen.warn(format_args!("continuing without a key: {}", failure.summary()));
                    None
                }
            },
        };
        Ok((catalog, key))
    }

    /// The policy's store, for what needs no key.
    pub(crate) async fn open_catalog(&self, policy: &Policy) -> Result<Catalog, Failure> {
        self.open_store(&self.store_url(policy)?, policy).await
    }

    /// Which store the policy has, and how it is opened.
    pub(crate) fn store_settings(&self, policy: &Policy) -> Result<StoreSettings, Failure> {
        let url = self.store_url(policy)?;
        self.trust_aws_files(&url)?;
        let options = OpenOptions {
            s3: self.s3_options()?,
            variables: None,
            must_exist: false,
            stop: self.cancel.clone(),
            throttle: None,
        };
        let text =
            |name: &str| Ok::<_, Failure>(self.environment.get(name)?.map(|value| String::clone(&value)));
        Ok(StoreSettings {
            url,
            options,
            access_key_id: text("AWS_ACCESS_KEY_ID")?,
            profile: text("AWS_PROFILE")?,
        })
    }

    /// The AWS SDK's files may name a program that gives credentials, and where requests go.
    fn trust_aws_files(&self, url: &StoreUrl) -> Result<(), Failure> {
        if url.to_string().starts_with("file:") {
            return Ok(());
        }
        for (name, file) in [("AWS_CONFIG_FILE", "config"), ("AWS_SHARED_CREDENTIALS_FILE", "credentials")] {
            let path = match (self.environment.get(name)?, self.environment.get("HOME")?) {
                (Some(path), _) => PathBuf::from(path.as_str()),
                (None, Some(home)) => Path::new(home.as_str()).join(".aws").join(file),
                (None, None) => continue,
            };
            if path.exists() {
                self.start.trust("the AWS SDK's file", &path, &self.screen)?;
            }
        }
        Ok(())
    }

    /// The store that backups are copied to, and whether it is reached through another endpoint than the policy's. Its settings
    /// are those of the file, where one is named, and none of them reaches the policy's store.
    pub(crate) async fn open_target(
        &self,
        url: &StoreUrl,
        policy: &Policy,
        env_file: Option<&Path>,
    ) -> Result<(Catalog, bool), Failure> {
        let Some(path) = env_file else { return Ok((self.open_store(url, policy).await?, false)) };
        let environment = environment::of_one_store(path, self.start, &self.screen)?;
        let target = Self { environment, is_of_one_store: true, ..self.clone() };
        let other_endpoint = target.endpoint()? != self.endpoint()?;
        Ok((target.open_store(url, policy).await?, other_endpoint))
    }

    /// The endpoint that requests to S3 go to, as the variables have it.
    fn endpoint(&self) -> Result<Option<String>, Failure> {
        for name in ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"] {
            if let Some(url) = self.environment.get(name)? {
                return Ok(Some(url.trim_end_matches('/').to_owned()));
            }
        }
        Ok(None)
    }

    /// A store that the first write creates, if it is a folder.
    async fn open_store(&self, url: &StoreUrl, policy: &Policy) -> Result<Catalog, Failure> {
        self.open_url(url, Some(policy), false).await
    }

    /// A store to read from. A folder that is missing is misspelled, or on a disk that is not mounted.
    async fn open_existing(&self, url: &StoreUrl, policy: Option<&Policy>) -> Result<Catalog, Failure> {
        self.open_url(url, policy, true).await
    }

    async fn open_url(
        &self,
        url: &StoreUrl,
        policy: Option<&Policy>,
        must_exist: bool,
    ) -> Result<Catalog, Failure> {
        self.trust_aws_files(url)?;
        let machine = self.machine()?;
        let variables = self.is_of_one_store.then(|| self.environment.for_store());
        let limits = policy.and_then(|policy| policy.limits);
        let throttle = limits.map(|limits| Arc::new(Throttle::new(limits, zone::minute_of_day)));
        let (s3, stop) = (self.s3_options()?, self.cancel.clone());
        let options = OpenOptions { s3, variables, must_exist, stop, throttle };
        let store = async { Ok(Catalog::new(url.open_with(options).await?)) };
        let catalog = self.unless_cancelled(store).await;
        let catalog = catalog.map_err(Failure::engine(format!("cannot open {url}")))?;
        Ok(match machine {
            Some(machine) => catalog.on_machine(machine),
            None => catalog,
        })
    }

    fn s3_options(&self) -> Result<S3Options, Failure> {
        let equal_parts = match self.environment.get(EQUAL_PARTS)?.as_deref().map(String::as_str) {
            None | Some("no") => false,
            Some("yes") => true,
            Some(text) => {
                return Err(Failure::configuration(format!(
                    "{EQUAL_PARTS} is {text:?}, which is neither yes nor no"
                )));
            }
        };
        Ok(S3Options { addressing: self.addressing()?, equal_parts })
    }

    fn addressing(&self) -> Result<Addressing, Failure> {
        match self.environment.get(ADDRESSING)? {
            None => Ok(Addressing::default()),
            Some(text) => text.parse().map_err(|e| Failure::configuration(format!("{ADDRESSING}: {e}"))),
        }
    }

    /// The machine that the environment names.
    pub(crate) fn machine(&self) -> Result<Option<Machine>, Failure> {
        let Some(name) = self.environment.get(MACHINE)? else { return Ok(None) };
        if name.len() > MOST_MACHINE_BYTES || name.trim() != name.as_str() || name.contains(char::is_control)
        {
            let what = format!("{MACHINE} is not a valid machine name");
            return Err(Failure::configuration(what).because(format!(
                "a name has at most {MOST_MACHINE_BYTES} bytes, no control characters, and no spaces at its start or end"
            )));
        }
        Ok(Some(Machine::named(name.as_str())))
    }

    fn store_url(&self, policy: &Policy) -> Result<StoreUrl, Failure> {
        self.store_or_default(policy.store.as_ref())
    }

    fn store_or_default(&self, store: Option<&StoreUrl>) -> Result<StoreUrl, Failure> {
        if let Some(url) = store {
            return Ok(url.clone());
        }
        match self.environment.get(BUCKET)? {
            None => Err(Failure::configuration("no store is configured, neither in the policy nor in the environment")
                .hint(format!("set {BUCKET}=my-bucket (or `store: s3://my-bucket/prefix` in the policy) for S3, or `store: file:///mnt/nas` in the policy for a folder. What reads backups also takes --store"))),
            Some(bucket) => {
                let text = bucket.as_str();
                let url = if text.contains("://") { text.to_owned() } else { format!("s3://{text}") };
                StoreUrl::parse(&url)
                    .map_err(|e| Failure::configuration(format!("{BUCKET} is not a valid bucket")).because(e))
            }
        }
    }

    /// The engine's error about a backup, with what was being done. Where the manifest is lost, it says how to restore without
    /// it what `only` selects, into `out`.
    pub(crate) fn backup_failure<'a>(
        &'a self,
        what: String,
        policy: impl Into<PolicyWords<'a>>,
        only: &'a [String],
        out: Option<&'a Path>,
    ) -> impl FnOnce(Error) -> Failure {
        let policy = policy.into();
        move |error| {
            let lost = match &error {
                Error::ManifestLost { name, .. } => Some(name.archive_key()),
                _ => None,
            };
            let failure = Failure::engine(what)(error);
            let Some(key) = lost else { return failure };
            let restore = self.restore_command(policy, &key);
            failure.hint(RestoreCommand { without_manifest: true, only, out, ..restore }.line())
        }
    }

    /// The command that restores the backup with this key.
    pub(crate) fn restore_command<'a>(
        &'a self,
        policy: impl Into<PolicyWords<'a>>,
        key: &'a str,
    ) -> RestoreCommand<'a> {
        let env_file = self.env_file.as_deref();
        let (only, out, in_place, overwrite) = (&[], None, false, None);
        let (policy, without_manifest, no_acl) = (policy.into(), false, false);
        RestoreCommand { env_file, policy, key, without_manifest, only, out, in_place, overwrite, no_acl }
    }

    /// Says which stores are new: a disk that is not mounted looks like one. `again`: what to do once it is.
    pub(crate) fn note_new_stores(&self, folders: &[PathBuf], again: &str) {
        for folder in folders {
            self.screen.note(format_args!(
                "created a new store in {}, which contained no backups. If a disk should be mounted there, mount it \
                 and {again}",
                folder.display()
            ));
        }
    }

    /// Runs work that does not watch for Ctrl-C itself.
    pub(crate) async fn unless_cancelled<T>(
        &self,
        work: impl Future<Output = intellistor::Result<T>>,
    ) -> intellistor::Result<T> {
        match self.cancel.run_until_cancelled(work).await {
            // A store that pauses between attempts gives its last error at the same moment.
            Some(Err(Error::Storage(_))) if self.cancel.is_cancelled() => Err(Error::Interrupted),
            None => Err(Error::Interrupted),
            Some(done) => done,
        }
    }

    /// Options of an operation that Ctrl-C stops.
    pub(crate) fn run_options(&self) -> RunOptions {
        RunOptions { cancel: self.cancel.clone(), ..RunOptions::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Exit;

    fn session(variables: &[(&str, &str)]) -> Session {
        Session {
            environment: Environment::of(variables),
            is_of_one_store: false,
            env_file: None,
            screen: Screen::default(),
            start: Start::ByHand,
            cancel: CancellationToken::new(),
        }
    }

    #[test]
    fn the_policys_store_wins_over_the_bucket() {
        let mut policy = Policy::new("a", ["x"]).unwrap();
        let with_bucket = session(&[(BUCKET, "from-the-environment")]);
        assert_eq!(with_bucket.store_url(&policy).unwrap().to_string(), "s3://from-the-environment");
        policy.store = Some(StoreUrl::parse("s3://from-the-policy/prefix").unwrap());
        assert_eq!(with_bucket.store_url(&policy).unwrap().to_string(), "s3://from-the-policy/prefix");
    }

    #[test]
    fn without_a_store_both_ways_are_shown() {
        let policy = Policy::new("a", ["x"]).unwrap();
        for empty in [&[][..], &[(BUCKET, "")]] {
            let failure = session(empty).store_url(&policy).unwrap_err();
            let text = failure.to_string();
            assert!(text.contains("AWS_S3_BUCKET=") && text.contains("file:///"), "{text}");
            assert_eq!(failure.exit(), Exit::Configuration);
        }
    }

    #[test]
    fn the_addressing_of_s3_is_a_choice() {
        let addressing = |text: &str| session(&[(ADDRESSING, text)]).addressing();
        assert_eq!(addressing("").unwrap(), Addressing::Auto);
        assert_eq!(addressing("virtual").unwrap(), Addressing::Virtual);
        let refused = addressing("host").unwrap_err();
        assert!(refused.to_string().contains(ADDRESSING), "{refused}");
        assert_eq!(refused.exit(), Exit::Configuration);
        let equal = |text: &str| session(&[(EQUAL_PARTS, text)]).s3_options();
        assert!(!equal("").unwrap().equal_parts && equal("yes").unwrap().equal_parts);
        assert_eq!(equal("1").unwrap_err().exit(), Exit::Configuration);
    }

    #[test]
    fn a_machine_can_be_named() {
        assert_eq!(session(&[(MACHINE, "")]).machine().unwrap(), None);
        assert_eq!(session(&[(MACHINE, "web")]).machine().unwrap(), Some(Machine::named("web")));
        for bad in [" web", "a\nb", &"x".repeat(200)] {
            let failure = session(&[(MACHINE, bad)]).machine().unwrap_err();
            assert!(failure.to_string().contains(MACHINE), "{failure}");
            assert_eq!(failure.exit(), Exit::Configuration);
        }
    }

    #[tokio::test]
    async fn a_cancelled_session_is_interrupted() {
        let session = session(&[]);
        session.cancel.cancel();
        let waited = session.unless_cancelled(std::future::pending::<intellistor::Result<()>>()).await;
        assert!(matches!(waited, Err(Error::Interrupted)));
    }
}
