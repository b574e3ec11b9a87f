//! Finding where an image was loaded from nothing but the code that ran.
//!
//! Images are loaded in whole pages, so that a stretch of executed bytes can only lie at the
//! positions of the file with the same offset in their page. Each stretch found votes for the
//! load bias it implies; the bias with most votes is then checked against all executed code.

use std::collections::HashMap;

use crate::agreement::{Agreement, USER_TOLERANCE, Verdict};
use crate::executed_code::ExecutedCode;
use crate::load_bias::LoadBias;
use crate::user_image::UserImage;

/// Stretches that vote. The longest are the most telling.
const VOTERS: usize = 64;
/// Shortest stretch that votes, in bytes: shorter ones are found by chance.
const SHORTEST_VOTER: usize = 12;
/// Lines that must agree. Start-up code is the same in many programs; it fills a line or two.
const FEWEST_MATCHED_LINES: u64 = 4;

/// Where the image lies, if the code that ran says so clearly. Cost: the size of the image's code
/// over 4096, for each of at most 64 stretches.
pub(crate) fn find_bias(image: &UserImage, code: &ExecutedCode) -> Option<(LoadBias, Agreement)> {
    let mut votes: HashMap<LoadBias, u64> = HashMap::new();
    let mut vote = |bias: LoadBias| {
        if !image.is_fixed || bias.0 == 0 {
            *votes.entry(bias).or_default() += 1;
        }
    };
    if image.has_code() {
        for (address, bytes) in code.runs().iter().take(VOTERS) {
            if bytes.len() >= SHORTEST_VOTER {
                positions(image, *address, bytes).for_each(&mut vote);
            }
        }
    } else {
        let mut lines: HashMap<u64, Vec<u64>> = HashMap::new();
        for print in image.fingerprint.lines() {
            lines.entry(print.address % 4096).or_default().push(print.address);
        }
        for (address, line) in code.lines() {
            for &own in lines.get(&(address % 4096)).map_or(&[][..], Vec::as_slice) {
                if image.fingerprint.check_line(own, line) == Some(true) {
                    LoadBias::between(own, address).into_iter().for_each(&mut vote);
                }
            }
        }
    }
    // Of equal votes the lowest bias, so that the answer does not depend on hashing.
    let mut ranked: Vec<(LoadBias, u64)> = votes.into_iter().collect();
    ranked.sort_by_key(|&(bias, votes)| (std::cmp::Reverse(votes), bias));
    ranked
        .into_iter()
        .take(4)
        .map(|(bias, _)| (bias, image.check(code, bias)))
        .filter(|(_, agreement)| {
            agreement.matched >= FEWEST_MATCHED_LINES
                && agreement.verdict(USER_TOLERANCE) == Verdict::Same
        })
        .max_by_key(|(bias, agreement)| (agreement.score(), std::cmp::Reverse(*bias)))
}

/// The biases under which the image has these bytes at this memory address.
fn positions<'a>(
    image: &'a UserImage,
    address: u64,
    bytes: &'a [u8],
) -> impl Iterator<Item = LoadBias> + 'a {
    image.code.iter().flat_map(move |(start, code)| {
        let first = address.wrapping_sub(*start) % 4096;
        (first as usize..code.len())
            .step_by(4096)
            .filter(move |&at| code[at..].starts_with(bytes))
            .filter_map(move |at| LoadBias::between(start.wrapping_add(at as u64), address))
    })
}
