//! A colour for each layer, the same in every figure.
//!
//! Hue says whose code it is, brightness whether kernel or user. The hues are those of Okabe and
//! Ito, which people with any colour vision tell apart; all are light enough for black text.

use strata_symbols::{DomainId, Layer};

/// Red, green and blue.
pub(crate) type Rgb = [u8; 3];

const HYPERVISOR: Rgb = [213, 94, 0];
const IDLE: Rgb = [170, 170, 170];
const UNKNOWN: Rgb = [215, 215, 215];
/// Sky blue, bluish green, yellow, reddish purple, orange.
const DOMAINS: [Rgb; 5] =
    [[86, 180, 233], [0, 158, 115], [240, 228, 66], [204, 121, 167], [230, 159, 0]];

/// The colour of a layer. With more than five domains hues come again.
pub(crate) fn layer_colour(layer: Layer) -> Rgb {
    let hue = |domain: DomainId| DOMAINS[usize::from(domain.0) % DOMAINS.len()];
    match layer {
        Layer::Hypervisor => HYPERVISOR,
        Layer::Kernel(domain) => hue(domain),
        Layer::User(domain) => hue(domain).map(|part| part + (255 - part) / 5 * 3),
        Layer::Idle => IDLE,
        Layer::Unknown => UNKNOWN,
    }
}

/// As in HTML.
pub(crate) fn hex([red, green, blue]: Rgb) -> String {
    format!("#{red:02x}{green:02x}{blue:02x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Relative luminance and contrast as the Web Content Accessibility Guidelines 2.1 define them.
    fn contrast_with_black(colour: Rgb) -> f64 {
        let [red, green, blue] = colour.map(|part| {
            let part = f64::from(part) / 255.0;
            if part <= 0.03928 { part / 12.92 } else { ((part + 0.055) / 1.055).powf(2.4) }
        });
        (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) / 0.05
    }

    #[test]
    fn black_text_reads_on_every_colour_and_no_two_layers_of_three_domains_share_one() {
        let mut layers = vec![Layer::Hypervisor, Layer::Idle, Layer::Unknown];
        for domain in (0..3).map(DomainId) {
            layers.extend([Layer::Kernel(domain), Layer::User(domain)]);
        }
        for (i, &layer) in layers.iter().enumerate() {
            assert!(contrast_with_black(layer_colour(layer)) >= 4.5, "{layer}");
            assert!(layers[..i].iter().all(|&other| layer_colour(other) != layer_colour(layer)));
        }
    }
}
