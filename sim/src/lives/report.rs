//! What was found out about lives.

use super::error::LifeError;
use super::life::{Life, LifeStage};
use super::patterns::Pattern;
use super::rules::Rules;
use super::summary::{Summary, rank};
use super::timeline::{Bar, LifeVisit, Timeline};
use super::{ByLayer, Lives};
use crate::calls::Paths;
use crate::counters::Counters;
use crate::functions::{Function, FunctionId};
use std::fmt;
use std::str::FromStr;
use strata_symbols::near_names;

/// What belongs to no life.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// While a life was under way: what is between its phases, and what has nothing to do with it.
    pub between: ByLayer,
    /// While none was.
    pub idle: ByLayer,
}

impl Outside {
    /// Both.
    pub fn total(&self) -> Counters {
        let mut total = Counters::default();
        self.between.values().chain(self.idle.values()).for_each(|counters| total += counters);
        total
    }
}

/// A phase over all lives, those that did not end included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseTotal {
    /// Lives that had it.
    pub lives: u64,
    /// By layer.
    pub layers: ByLayer,
    /// Over all layers.
    pub counters: Counters,
    /// Instructions in each whole life that had it.
    pub per_life: Summary,
}

/// A pattern of the rules that no function matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdlePattern {
    /// Name of its phase; `None` for counted calls and what is outside.
    pub phase: Option<String>,
    /// The pattern.
    pub pattern: Pattern,
    /// Functions with like names.
    pub near: Vec<String>,
}

/// Which life to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LifeChoice {
    /// Half of the whole lives lasted no longer.
    #[default]
    Median,
    /// The one that lasted longest, of the whole ones.
    Slowest,
    /// By number, from 1.
    Number(u64),
}

impl FromStr for LifeChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "median" => Ok(LifeChoice::Median),
            "slowest" => Ok(LifeChoice::Slowest),
            number => number.parse().map(LifeChoice::Number).map_err(|_| {
                format!("`{number}` is no life; there are median, slowest, and numbers from 1")
            }),
        }
    }
}

impl fmt::Display for LifeChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LifeChoice::Median => f.write_str("median"),
            LifeChoice::Slowest => f.write_str("slowest"),
            LifeChoice::Number(number) => number.fmt(f),
        }
    }
}

/// All lives of a stream.
#[derive(Clone, Debug)]
pub struct LifeReport {
    /// By which they were found.
    pub rules: Rules,
    /// In the order in which they began.
    pub lives: Vec<Life>,
    /// In the order of the rules.
    pub phases: Vec<PhaseTotal>,
    /// What belongs to none.
    pub outside: Outside,
    /// All of the replay.
    pub total: Counters,
    /// Instructions done for each whole life.
    pub instructions: Summary,
    /// Instructions from the first to the last of each whole life.
    pub elapsed: Summary,
    /// Patterns that matched nothing.
    pub idle_patterns: Vec<IdlePattern>,
    /// Grant-table operations that were asked for again because the hypervisor had left off; they
    /// are counted once.
    pub repeated_operations: u64,
    /// Grant-table operations in the stream.
    pub grant_operations: u64,
    /// Of these, maps and copies that were taken for lives.
    pub accepted_operations: u64,
    /// Unmaps of what was mapped for no life.
    pub foreign_unmaps: u64,
    /// Grants taken back that were of no life.
    pub stray_ends: u64,
    /// Gaps, each of which cut off the lives that were under way.
    pub gaps: u64,
    timeline: Timeline,
    functions: Vec<Function>,
    function_of: Vec<FunctionId>,
}

impl Lives {
    /// Ends the stream, which was `total`, and checks that nothing of it was lost.
    ///
    /// # Errors
    /// [`LifeError::NoGrants`], [`LifeError::NeverRan`] and [`LifeError::NotAccepted`] if no life
    /// can have been followed, [`LifeError::Sum`] if the law is broken.
    pub fn finish(
        self,
        paths: &Paths,
        functions: &[Function],
        total: &Counters,
    ) -> Result<LifeReport, LifeError> {
        if self.grant_operations == 0 {
            return Err(LifeError::NoGrants);
        }
        let idle_patterns = self.idle_patterns(functions)?;
        if self.accepted_operations == 0 {
            let accepting = self.rules.phases.iter().filter(|phase| phase.accepts);
            let names: Vec<&str> = accepting.map(|phase| phase.name.as_str()).collect();
            return Err(LifeError::NotAccepted {
                operations: self.grant_operations,
                phases: names.join(", "),
            });
        }
        let whole = || self.lives.iter().filter(|life| is_whole(life));
        let phases = (0..self.rules.phases.len()).map(|phase| {
            let mut layers = ByLayer::new();
            let mut counters = Counters::default();
            for life in &self.lives {
                for (&(of, layer), cell) in &life.cells {
                    if usize::from(of) == phase {
                        *layers.entry(layer).or_default() += cell;
                        counters += cell;
                    }
                }
            }
            let per_life = whole().filter(|life| life.has(phase));
            PhaseTotal {
                lives: self.lives.iter().filter(|life| life.has(phase)).count() as u64,
                layers,
                counters,
                per_life: Summary::of(per_life.map(|life| instructions_of(life, phase))),
            }
        });
        let report = LifeReport {
            phases: phases.collect(),
            instructions: Summary::of(whole().map(|life| life.total().instructions)),
            elapsed: Summary::of(whole().map(Life::elapsed)),
            outside: self.outside,
            total: *total,
            idle_patterns,
            repeated_operations: self.continuations.repeated,
            grant_operations: self.grant_operations,
            accepted_operations: self.accepted_operations,
            foreign_unmaps: self.grants.foreign_unmaps,
            stray_ends: self.stray_ends,
            gaps: self.gaps,
            rules: self.rules,
            lives: self.lives,
            timeline: self.timeline,
            functions: functions.to_vec(),
            function_of: paths.iter().map(|(_, path)| path.function).collect(),
        };
        report.check()?;
        Ok(report)
    }

    fn idle_patterns(&self, functions: &[Function]) -> Result<Vec<IdlePattern>, LifeError> {
        let near = |pattern: &Pattern| {
            let of_layer = functions.iter().filter(|f| pattern.layer().includes(f.layer));
            let names = of_layer.filter_map(|f| f.name.as_ref()).map(|name| name.function.as_str());
            near_names(pattern.name(), names).into_iter().map(str::to_owned).collect()
        };
        for (number, phase) in self.rules.phases.iter().enumerate() {
            if let (false, false, Some(first)) =
                (phase.optional, self.classes.has_run(number), phase.functions.iter().next())
            {
                return Err(LifeError::NeverRan {
                    phase: phase.name.clone(),
                    pattern: first.text().to_owned(),
                    layer: first.layer().to_string(),
                    near: near(first),
                });
            }
        }
        let told = self.classes.idle().map(|idle| IdlePattern {
            phase: idle.phase.map(|phase| self.rules.phases[phase].name.clone()),
            pattern: idle.pattern.clone(),
            near: near(idle.pattern),
        });
        Ok(told.collect())
    }
}

/// Whether all of a life is in the stream.
fn is_whole(life: &Life) -> bool {
    life.is_closed && !life.is_headless
}

/// Instructions of one phase of a life.
fn instructions_of(life: &Life, phase: usize) -> u64 {
    let cells = life.cells.iter().filter(|((of, _), _)| usize::from(*of) == phase);
    cells.map(|(_, counters)| counters.instructions).sum()
}

impl LifeReport {
    /// Lives and outside against the whole.
    fn check(&self) -> Result<(), LifeError> {
        let mut sum = self.outside.total();
        self.lives.iter().for_each(|life| sum += &life.total());
        let total = &self.total;
        let pairs = [
            ("instructions", sum.instructions, total.instructions),
            ("L1I misses", sum.l1i().misses, total.l1i().misses),
            ("L1D misses", sum.l1d().misses, total.l1d().misses),
            ("L2 misses", sum.l2().misses, total.l2().misses),
            ("ITLB misses", sum.itlb.misses, total.itlb.misses),
            ("DTLB misses", sum.dtlb.misses, total.dtlb.misses),
            ("data accesses", sum.l1d().accesses, total.l1d().accesses),
            ("counters that differ", u64::from(sum != *total), 0),
        ];
        match pairs.into_iter().find(|(_, sum, total)| sum != total) {
            Some((counter, sum, total)) => Err(LifeError::Sum { counter, sum, total }),
            None => Ok(()),
        }
    }

    /// Lives that began and ended in the stream.
    pub fn whole(&self) -> impl Iterator<Item = (usize, &Life)> {
        self.lives.iter().enumerate().filter(|(_, life)| is_whole(life))
    }

    /// Lives that did not end, by how far they came.
    pub fn unfinished(&self) -> [(LifeStage, u64); LifeStage::ALL.len()] {
        LifeStage::ALL.map(|stage| {
            let there = self.lives.iter().filter(|life| !life.is_closed && life.stage == stage);
            (stage, there.count() as u64)
        })
    }

    /// Index of the life that is meant.
    ///
    /// # Errors
    /// [`LifeError::NoSuchLife`] and [`LifeError::NoneClosed`] if there is none.
    pub fn choose(&self, choice: LifeChoice) -> Result<usize, LifeError> {
        let lives = self.lives.len() as u64;
        if let LifeChoice::Number(given) = choice {
            return match given {
                1.. if given <= lives => Ok(given as usize - 1),
                _ => Err(LifeError::NoSuchLife { given, lives }),
            };
        }
        let mut whole: Vec<(u64, usize)> =
            self.whole().map(|(number, life)| (life.elapsed(), number)).collect();
        whole.sort_unstable();
        let at = match choice {
            LifeChoice::Slowest => whole.len().saturating_sub(1),
            _ => rank(whole.len(), 50),
        };
        whole.get(at).map(|&(_, number)| number).ok_or(LifeError::NoneClosed { lives })
    }

    /// What ran for a life, in order; `number` is its index.
    pub fn flow(&self, number: usize) -> Vec<LifeVisit> {
        let life = &self.lives[number];
        let range = life.begin..life.end;
        self.timeline.flow(number as u32, range, &self.functions, &self.function_of)
    }

    /// Where control was while a life lasted; `number` is its index.
    pub fn bars(&self, number: usize) -> Vec<Bar> {
        let life = &self.lives[number];
        let range = life.begin..life.end;
        self.timeline.bars(number as u32, range, &self.functions, &self.function_of)
    }
}
