//! Patterns of functions, as a rules file gives them: `e1000_clean > br_handle_frame`.

use super::error::LifeError;
use crate::calls::{PathId, Paths};
use crate::functions::Function;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use strata_symbols::{DomainId, Layer, fits_pattern};

/// The domain of drivers.
const DOM0: DomainId = DomainId(0);

/// Layers that a pattern looks in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerPattern {
    /// One layer.
    One(Layer),
    /// Kernel of any domain but 0: `guest-kernel`.
    GuestKernel,
    /// Programs of any domain but 0: `guest-user`.
    GuestUser,
}

impl LayerPattern {
    /// Whether `layer` is one of them.
    pub fn includes(self, layer: Layer) -> bool {
        match self {
            LayerPattern::One(one) => one == layer,
            LayerPattern::GuestKernel => matches!(layer, Layer::Kernel(d) if d != DOM0),
            LayerPattern::GuestUser => matches!(layer, Layer::User(d) if d != DOM0),
        }
    }

    fn is_user(self) -> bool {
        matches!(self, LayerPattern::GuestUser | LayerPattern::One(Layer::User(_)))
    }
}

impl fmt::Display for LayerPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayerPattern::One(layer) => layer.fmt(f),
            LayerPattern::GuestKernel => f.pad("guest-kernel"),
            LayerPattern::GuestUser => f.pad("guest-user"),
        }
    }
}

impl FromStr for LayerPattern {
    type Err = LifeError;

    fn from_str(text: &str) -> Result<Self, LifeError> {
        match text {
            "guest-kernel" => Ok(LayerPattern::GuestKernel),
            "guest-user" => Ok(LayerPattern::GuestUser),
            _ => text
                .parse()
                .map(LayerPattern::One)
                .map_err(|_| LifeError::UnknownLayer { given: text.to_owned() }),
        }
    }
}

/// Patterns by layer, as a rules file writes them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, Vec<String>>")]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// All of them.
    pub fn iter(&self) -> std::slice::Iter<'_, Pattern> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<BTreeMap<String, Vec<String>>> for Patterns {
    type Error = LifeError;

    fn try_from(given: BTreeMap<String, Vec<String>>) -> Result<Self, LifeError> {
        let mut patterns = Vec::new();
        for (layer, texts) in given {
            let layer: LayerPattern = layer.parse()?;
            for text in texts {
                patterns.push(Pattern::new(layer, &text)?);
            }
        }
        Ok(Patterns(patterns))
    }
}

/// A function, and what it must have been called from, directly or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    layer: LayerPattern,
    text: String,
    /// Outermost first.
    callers: Vec<NameGlob>,
    function: NameGlob,
}

impl Pattern {
    /// Functions of `layer` that `text` describes.
    ///
    /// # Errors
    /// [`LifeError::Pattern`] for an empty name, and for names of programs: those are known only
    /// when the stream has ended.
    pub fn new(layer: LayerPattern, text: &str) -> Result<Self, LifeError> {
        let wrong = |why| LifeError::Pattern { given: text.to_owned(), why };
        let mut names: Vec<NameGlob> = text.split('>').map(NameGlob::new).collect();
        if names.iter().any(|name| name.function.is_empty()) {
            return Err(wrong("a name is empty; write `caller > function`, or `function`"));
        }
        let function = names.pop().ok_or_else(|| wrong("it is empty"))?;
        if layer.is_user() && (function.function != "*" || function.module.is_some()) {
            return Err(wrong(
                "functions of programs get their names when the trace has ended, too late to follow a life by; `*` takes all of a program",
            ));
        }
        Ok(Pattern { layer, text: text.trim().to_owned(), callers: names, function })
    }

    /// Layers it looks in.
    pub fn layer(&self) -> LayerPattern {
        self.layer
    }

    /// As it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name that is looked for, without callers.
    pub fn name(&self) -> &str {
        &self.function.function
    }

    /// Whether it takes `function`, wherever that was called from.
    pub fn takes_function(&self, function: &Function) -> bool {
        self.layer.includes(function.layer) && self.function.takes(function)
    }

    /// Whether the callers are among the frames below `top`.
    pub fn takes_callers(&self, top: PathId, paths: &Paths, functions: &[Function]) -> bool {
        let mut wanted = self.callers.iter().rev().peekable();
        for frame in paths.frames(top).skip(1) {
            let Some(name) = wanted.peek() else { break };
            if name.takes(&functions[frame.function.0 as usize]) {
                wanted.next();
            }
        }
        wanted.peek().is_none()
    }
}

/// `name` or `module:name`, each with `*` for anything.
#[derive(Clone, Debug, PartialEq, Eq)]
struct NameGlob {
    module: Option<String>,
    function: String,
}

impl NameGlob {
    fn new(text: &str) -> Self {
        let text = text.trim();
        match text.split_once(':') {
            Some((module, function)) => NameGlob {
                module: Some(module.trim().to_owned()),
                function: function.trim().to_owned(),
            },
            None => NameGlob { module: None, function: text.to_owned() },
        }
    }

    fn takes(&self, function: &Function) -> bool {
        match &function.name {
            None => self.module.is_none() && self.function == "*",
            Some(name) => {
                self.module.as_ref().is_none_or(|module| fits_pattern(module, &name.module))
                    && fits_pattern(&self.function, &name.function)
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::calls::Link;
    use crate::functions::{FunctionId, Name};

    fn function(layer: &str, module: &str, name: &str) -> Function {
        let name = Name { module: module.to_owned(), function: name.to_owned(), address: 0x1000 };
        Function { layer: layer.parse().unwrap(), name: Some(name) }
    }

    #[test]
    fn guests_are_all_domains_but_dom0() {
        let guest: LayerPattern = "guest-kernel".parse().unwrap();
        assert!(guest.includes("dom1-kernel".parse().unwrap()));
        assert!(guest.includes("dom7-kernel".parse().unwrap()));
        assert!(!guest.includes("dom0-kernel".parse().unwrap()));
        assert!(!guest.includes("dom1-user".parse().unwrap()));
        let error = "guest-kernal".parse::<LayerPattern>().unwrap_err().to_string();
        assert!(
            error.contains("guest-kernal") && error.contains("did you mean guest-kernel"),
            "{error}"
        );
    }

    #[test]
    fn callers_are_found_in_order_at_any_distance() {
        let functions =
            ["poll", "core", "bridge", "xmit"].map(|name| function("dom0-kernel", "m", name));
        let mut paths = Paths::default();
        let mut top = None;
        for id in 0..4 {
            top = Some(paths.on(top, Link::Call, FunctionId(id)));
        }
        let top = top.unwrap();
        let takes = |text: &str| {
            let pattern = Pattern::new("dom0-kernel".parse().unwrap(), text).unwrap();
            pattern.takes_function(&functions[3]) && pattern.takes_callers(top, &paths, &functions)
        };
        assert!(takes("xmit") && takes("poll > xmit") && takes("poll > m:bridge > xmit"));
        assert!(!takes("bridge > poll > xmit") && !takes("xmit > xmit") && !takes("other:xmit"));
    }

    #[test]
    fn programs_can_only_be_taken_whole_and_names_are_not_empty() {
        let user: LayerPattern = "guest-user".parse().unwrap();
        assert!(Pattern::new(user, "*").is_ok());
        assert!(Pattern::new(user, "main").unwrap_err().to_string().contains("main"));
        for text in ["", "a >", "> a", "m:"] {
            assert!(Pattern::new(LayerPattern::GuestKernel, text).is_err(), "{text}");
        }
    }
}
