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
        let value = value.ok_or_else(|| format!("{name} is not set: put it into the environment file"))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Channel, Policy};

    #[test]
    fn a_variable_that_is_not_set_is_named() {
        let yaml = "policy_id: a\npaths: [x]\nnotify: [{ url: 'env:INTELLISTOR_NOTIFY_HC_NONE' }]\n";
        let policy = Policy::from_yaml("a".as_ref(), yaml).unwrap();
        let Channel::Webhook { url, .. } = &policy.notify[0].channel else { panic!() };
        let sender = Sender { variables: Variables::default(), timeout: Duration::from_secs(1) };
        let refused = sender.url(url, false).unwrap_err();
        assert_eq!(refused, "INTELLISTOR_NOTIFY_HC_NONE is not set: put it into the environment file");
        assert_eq!(format!("{url:?}"), "env:INTELLISTOR_NOTIFY_HC_NONE");
    }
}
