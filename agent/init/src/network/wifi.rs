//! Wi-Fi: what wpa_supplicant is told, and the country's radio rules.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use bramble_card::settings::{Wifi, wifi_key};
use bramble_runtime::whole_file;

use crate::messages::say;
use crate::program;

/// Where the configuration is written: in memory, for root only.
pub(super) const CONFIG: &str = "/run/bramble-init/wpa_supplicant.conf";
/// The tool for radios.
pub(super) const IW: &str = "/usr/sbin/iw";

/// Writes the configuration and sets the country.
///
/// # Errors
/// The file cannot be written.
pub(super) fn prepare(settings: &Wifi) -> io::Result<()> {
    if let Err(error) = program::run(IW, &["reg", "set", &settings.country]) {
        say(&format!("the radio rules of {} are not set: {error}", settings.country));
    }
    whole_file::replace(Path::new(CONFIG), configuration(settings).as_bytes(), 0o600)
}

fn configuration(settings: &Wifi) -> String {
    let mut text = format!("country={}\nnetwork={{\n", settings.country);
    // In hexadecimal, since a name may hold any byte.
    text.push_str("  ssid=");
    for byte in settings.ssid.bytes() {
        let _infallible = write!(text, "{byte:02x}");
    }
    // A network that hides its name is asked for it.
    text.push_str("\n  scan_ssid=1\n");
    match &settings.passphrase {
        Some(key) if wifi_key(key) => {
            let _infallible = write!(text, "  key_mgmt=WPA-PSK\n  psk={key}\n");
        }
        // From the first to the last quote of the line: quotes within need no care.
        Some(passphrase) => {
            let _infallible = write!(text, "  key_mgmt=WPA-PSK\n  psk=\"{passphrase}\"\n");
        }
        None => text.push_str("  key_mgmt=NONE\n"),
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passphrases_cannot_break_out() {
        let settings = Wifi {
            ssid: "a\"\n}".to_owned(),
            passphrase: Some("say \"friend\"".to_owned()),
            country: "DE".to_owned(),
        };
        assert_eq!(
            configuration(&settings),
            "country=DE\nnetwork={\n  ssid=61220a7d\n  scan_ssid=1\n  key_mgmt=WPA-PSK\n  \
             psk=\"say \"friend\"\"\n}\n"
        );
        let key = Wifi { passphrase: Some("0a".repeat(32)), ..settings.clone() };
        assert!(configuration(&key).contains(&format!("\n  psk={}\n", "0a".repeat(32))));
        let open = Wifi { passphrase: None, ..settings };
        assert!(configuration(&open).contains("key_mgmt=NONE"));
    }
}
