//! Where the agent keeps its queues and logs.

use std::path::PathBuf;

use intellistor::Agent;

use crate::environment::Environment;
use crate::failure::Failure;

/// The variable that names the agent's folder.
pub(crate) const HOME: &str = "INTELLISTOR_HOME";

/// The agent with the home that the environment names, or else the system's place for such things.
pub(crate) fn agent(environment: &Environment) -> Result<Agent, Failure> {
    folder(environment).map(Agent::new)
}

/// The folder itself.
pub(crate) fn folder(environment: &Environment) -> Result<PathBuf, Failure> {
    if let Some(home) = environment.get(HOME)? {
        let home = PathBuf::from(home.as_str());
        // A scheduled run has another current directory than the person who tried it.
        return std::path::absolute(&home)
            .map_err(|e| Failure::configuration(format!("{HOME} is not the path of a folder: {e}")));
    }
    let unknown = || {
        Failure::configuration("cannot tell where to keep the agent's queues and logs")
            .hint(format!("set {HOME} to a folder for them"))
    };
    if cfg!(windows) {
        let data = environment.get("ProgramData")?.ok_or_else(unknown)?;
        return Ok(PathBuf::from(data.as_str()).join("Intellistor").join("Agent"));
    }
    if is_root() {
        return Ok("/var/lib/intellistor/agent".into());
    }
    let state = match environment.get("XDG_STATE_HOME")? {
        // The specification has relative paths ignored.
        Some(state) if state.starts_with('/') => PathBuf::from(state.as_str()),
        _ => PathBuf::from(environment.get("HOME")?.ok_or_else(unknown)?.as_str()).join(".local/state"),
    };
    Ok(state.join("intellistor/agent"))
}

/// The folder of a user's configuration: `$XDG_CONFIG_HOME`.
pub(crate) fn configuration(environment: &Environment) -> Result<PathBuf, Failure> {
    match environment.get("XDG_CONFIG_HOME")? {
        Some(folder) if folder.starts_with('/') => Ok(PathBuf::from(folder.as_str())),
        _ => {
            let home =
                environment.get("HOME")?.map_or_else(PathBuf::new, |home| PathBuf::from(home.as_str()));
            Ok(home.join(".config"))
        }
    }
}

/// Whether this is root.
#[cfg(unix)]
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether this is root.
#[cfg(not(unix))]
pub(crate) fn is_root() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_wins_and_becomes_absolute() {
        let here = std::env::current_dir().unwrap();
        let of = |home: &str| folder(&Environment::of(&[(HOME, home), ("HOME", "/home/ana")])).unwrap();
        let absolute = if cfg!(windows) { r"C:\srv\agent" } else { "/srv/agent" };
        assert_eq!(of(absolute), PathBuf::from(absolute));
        assert_eq!(of("agent"), here.join("agent"));
    }

    #[cfg(unix)]
    #[test]
    fn the_systems_place_depends_on_who_runs_it() {
        let of = |variables: &[(&str, &str)]| folder(&Environment::of(variables));
        if is_root() {
            assert_eq!(of(&[]).unwrap(), PathBuf::from("/var/lib/intellistor/agent"));
            return;
        }
        let by_home = [("HOME", "/home/ana"), ("XDG_STATE_HOME", "relative")];
        assert_eq!(of(&by_home).unwrap(), PathBuf::from("/home/ana/.local/state/intellistor/agent"));
        assert_eq!(of(&[("XDG_STATE_HOME", "/s")]).unwrap(), PathBuf::from("/s/intellistor/agent"));
        assert!(of(&[]).unwrap_err().to_string().contains(HOME));
    }
}
