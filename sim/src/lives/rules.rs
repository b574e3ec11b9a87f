//! What a life is made of: the rules file.

use super::error::LifeError;
use super::life::LifeStage;
use super::patterns::Patterns;
use serde::Deserialize;

/// Version of the layout.
const SCHEMA: u32 = 1;

/// Most phases that a rules file may have.
pub const MOST_PHASES: usize = 32;

/// Which way packets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From a guest that grants what it sends, until it has its grants back.
    Tx,
    /// To a guest, into buffers that it granted before.
    Rx,
}

/// Rules that split a stream into lives.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rules {
    schema: u32,
    /// Short name.
    pub name: String,
    /// What a life is, for titles.
    pub title: String,
    /// Which way packets go.
    pub direction: Direction,
    /// Calls that are counted.
    #[serde(default)]
    pub counts: Counted,
    /// What belongs to no phase, though called from one.
    #[serde(default)]
    pub outside: Patterns,
    /// Phases in the order in which a life has them.
    #[serde(rename = "phase")]
    pub phases: Vec<Phase>,
}

/// Calls that are counted in a life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Counted {
    /// One for each packet.
    #[serde(default)]
    pub packets: Patterns,
    /// One for each grant of the guest.
    #[serde(default)]
    pub grants: Patterns,
    /// One for each grant that the guest takes back.
    #[serde(default)]
    pub ends: Patterns,
}

/// A part of a life.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Phase {
    /// Short name.
    pub name: String,
    /// For people.
    pub title: String,
    /// Functions that it runs in, with all that they call.
    pub functions: Patterns,
    /// Stages of the lives that a call of these functions can be for, the likeliest first. With
    /// none, the phase is found only within another of the same life.
    #[serde(default)]
    pub when: Vec<LifeStage>,
    /// Further stages that a life can come to while the call lasts.
    #[serde(default)]
    pub goes_on: Vec<LifeStage>,
    /// A new life begins with it if none is in these stages.
    #[serde(default)]
    pub opens: bool,
    /// Grant operations in it are of the life.
    #[serde(default)]
    pub accepts: bool,
    /// A life that is released ends with it; where grants taken back are counted, with the last.
    #[serde(default)]
    pub closes: bool,
    /// A life can be without it.
    #[serde(default)]
    pub optional: bool,
}

impl Phase {
    /// Whether it can be of a life in `stage`.
    pub(super) fn fits(&self, stage: LifeStage) -> bool {
        self.when.contains(&stage) || self.goes_on.contains(&stage)
    }
}

impl Rules {
    /// The bundled rules for network packets of Xen guests: netfront, netback, bridge and e1000 of
    /// Linux 6.1 over Xen 4.17.
    pub fn xen_net(direction: Direction) -> Self {
        let (name, text) = match direction {
            Direction::Tx => ("xen-net-tx.toml", include_str!("rules/xen-net-tx.toml")),
            Direction::Rx => ("xen-net-rx.toml", include_str!("rules/xen-net-rx.toml")),
        };
        Rules::parse(text, name).expect("the bundled rules are tested to be good")
    }

    /// Reads rules; `place` names them in errors.
    ///
    /// # Errors
    /// [`LifeError::Rules`] says where and what.
    pub fn parse(text: &str, place: &str) -> Result<Self, LifeError> {
        let wrong = |why: String| LifeError::Rules { place: place.to_owned(), why };
        let rules: Rules =
            toml::from_str(text).map_err(|error| wrong(error.to_string().trim_end().to_owned()))?;
        rules.check().map_err(wrong)?;
        Ok(rules)
    }

    fn check(&self) -> Result<(), String> {
        if self.schema != SCHEMA {
            return Err(format!("schema: is {}, this program reads {SCHEMA}", self.schema));
        }
        if !(1..=MOST_PHASES).contains(&self.phases.len()) {
            return Err(format!(
                "phase: there are {}, there must be 1 to {MOST_PHASES}",
                self.phases.len()
            ));
        }
        for (i, phase) in self.phases.iter().enumerate() {
            let name = &phase.name;
            if name.is_empty() || self.phases[..i].iter().any(|before| before.name == *name) {
                return Err(format!("phase {name:?}: names must differ and not be empty"));
            }
            if phase.functions.is_empty() {
                return Err(format!("phase {name}: functions: there are none"));
            }
            if phase.when.is_empty() && phase.goes_on.is_empty() {
                return Err(format!(
                    "phase {name}: when: no stage; there are {}",
                    LifeStage::ALL.map(LifeStage::name).join(", ")
                ));
            }
            if phase.opens && !phase.when.contains(&LifeStage::Gathering) {
                return Err(format!(
                    "phase {name}: opens: a new life is in stage gathering, which `when` lacks"
                ));
            }
        }
        for (key, has) in [
            ("opens", self.phases.iter().any(|phase| phase.opens)),
            ("accepts", self.phases.iter().any(|phase| phase.accepts)),
            (
                "closes",
                !self.counts.ends.is_empty() || self.phases.iter().any(|phase| phase.closes),
            ),
        ] {
            if !has {
                return Err(format!("no phase has `{key} = true`; at least one must"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        schema = 1
        name = "n"
        title = "t"
        direction = "tx"
        [[phase]]
        name = "send"
        title = "Send"
        functions = { guest-kernel = ["xmit*"] }
        when = ["gathering", "granted"]
        opens = true
        [[phase]]
        name = "take"
        title = "Take"
        functions = { dom0-kernel = ["poll"] }
        when = ["gathering"]
        goes-on = ["accepted", "released"]
        accepts = true
        closes = true
    "#;

    fn error_after(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        Rules::parse(&GOOD.replacen(from, to, 1), "my.toml").unwrap_err().to_string()
    }

    #[test]
    fn bundled_rules_are_good_and_of_their_direction() {
        for direction in [Direction::Tx, Direction::Rx] {
            assert_eq!(Rules::xen_net(direction).direction, direction);
        }
        assert_eq!(Rules::parse(GOOD, "my.toml").unwrap().phases.len(), 2);
    }

    #[test]
    fn what_is_wrong_is_said_with_file_key_and_remedy() {
        for (from, to, said) in [
            ("guest-kernel", "guest-kernal", "did you mean guest-kernel"),
            ("\"xmit*\"", "\"a > \"", "a > "),
            ("accepts = true", "", "`accepts = true`"),
            ("opens = true", "", "`opens = true`"),
            ("closes = true", "", "`closes = true`"),
            ("closes = true", "closes = true\nfoo = 1", "foo"),
            ("\"granted\"", "\"sent\"", "sent"),
            ("schema = 1", "schema = 7", "schema: is 7"),
            ("\"take\"", "\"send\"", "names must differ"),
            ("when = [\"gathering\", \"granted\"]", "when = [\"granted\"]", "which `when` lacks"),
            ("functions = { dom0-kernel = [\"poll\"] }", "functions = {}", "there are none"),
        ] {
            let error = error_after(from, to);
            assert!(error.starts_with("my.toml: ") && error.contains(said), "{to}: {error}");
        }
    }
}
