//! `autoboot.txt`: which slot the firmware starts, and which one it tries once when asked.
//!
//! The file always has the same length and fits a sector, so that it is replaced by one write
//! that a power cut cannot tear.

use crate::layout::Slot;

/// What the firmware starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Autoboot {
    /// Started at power-on.
    pub normal: Slot,
    /// Started once, by a reboot that asks for it.
    pub trial: Slot,
}

/// Why a text is no `autoboot.txt` of a bramble card.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseAutobootError {
    /// A section names no partition.
    #[error("section [{section}] has no boot_partition")]
    NoPartition {
        /// Its name.
        section: &'static str,
    },
    /// A section names something that is no slot.
    #[error("section [{section}] names a partition that is no slot")]
    NoSlot {
        /// Its name.
        section: &'static str,
    },
}

impl Autoboot {
    /// Starts `slot`, and the other one when a trial is asked for.
    #[must_use]
    pub fn starting(slot: Slot) -> Self {
        Self { normal: slot, trial: slot.other() }
    }

    /// The file's text.
    #[must_use]
    pub fn text(self) -> String {
        format!(
            "[all]\ntryboot_a_b=1\nboot_partition={}\n[tryboot]\nboot_partition={}\n",
            self.normal.number(),
            self.trial.number()
        )
    }

    /// Reads the file's text as the firmware does: unknown keys are skipped.
    ///
    /// # Errors
    /// A section names no slot.
    pub fn parse(text: &str) -> Result<Self, ParseAutobootError> {
        let normal = slot_of(text, "all")?;
        let trial = slot_of(text, "tryboot")?;
        Ok(Self { normal, trial })
    }
}

fn slot_of(text: &str, section: &'static str) -> Result<Slot, ParseAutobootError> {
    let mut current = "all";
    let mut found = None;
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            current = name;
        } else if let Some(number) = line.strip_prefix("boot_partition=")
            && current == section
        {
            found = Some(number.trim().parse().ok().and_then(Slot::with_number));
        }
    }
    found
        .ok_or(ParseAutobootError::NoPartition { section })?
        .ok_or(ParseAutobootError::NoSlot { section })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_slots_have_a_text_of_one_length_within_a_sector() {
        let [a, b] = [Slot::A, Slot::B].map(|slot| Autoboot::starting(slot).text());
        assert_eq!(a.len(), b.len());
        assert!(a.len() < 512);
        for slot in [Slot::A, Slot::B] {
            let autoboot = Autoboot::starting(slot);
            assert_eq!(Autoboot::parse(&autoboot.text()), Ok(autoboot));
        }
    }

    #[test]
    fn foreign_text_is_refused() {
        let check = |text: &str, error| assert_eq!(Autoboot::parse(text), Err(error), "{text}");
        check("", ParseAutobootError::NoPartition { section: "all" });
        check("boot_partition=7", ParseAutobootError::NoSlot { section: "all" });
        check("boot_partition=2", ParseAutobootError::NoPartition { section: "tryboot" });
    }
}
