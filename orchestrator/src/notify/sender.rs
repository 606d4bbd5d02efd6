//! What one notice is sent with: secrets, proxies and authorities, and its time.

use std::time::Duration;

use intellistor_storage::objects::{Outbound, Variables};
use zeroize::Zeroizing;

use crate::policy::{Secret, Variable, check_url};

/// What a kind of notice sends with.
pub(super) struct Sender {
    pub(super) variables: Variables,
    pub(super) timeout: Duration,
}

impl Sender {
    pub(super) fn outbound(&self) -> Result<Outbound, String> {
        Outbound::read(&self.variables)
    }

    pub(super) fn secret(&self, variable: &Variable) -> Result<Zeroizing<String>, String> {
        let name = variable.name();
        let value = self.variables.get(name).map(Zeroizing::new);
        let value = value.ok_or_else(|| format!("{name} is not set. Set it in the environment file"))?;
        if value.contains(char::is_control) {
            return Err(format!("{name} contains a control character"));
        }
        Ok(value)
    }

    pub(super) fn url(&self, url: &Secret, has_token: bool) -> Result<Zeroizing<String>, String> {
        match url {
            Secret::Url(url) => Ok(Zeroizing::new(url.clone())),
            Secret::Variable(variable) => {
                let url = self.secret(variable)?;
                check_url(&url, has_token)
                    .map_err(|reason| format!("{} cannot be used: {reason}", variable.name()))?;
                Ok(url)
            }
        }
    }
}
