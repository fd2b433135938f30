//! Makes a script that fails smaller: leaves out chunks of it for as long as it fails without them (delta debugging).
//! A failure that depends on the moment may pass by chance and so keep steps that it does not need.

use crate::script::Step;

/// The smallest script found in up to `tries` plays. `fails` plays one.
pub fn shrink(steps: &[Step], tries: usize, fails: &mut dyn FnMut(&[Step]) -> bool) -> Vec<Step> {
    let mut steps = steps.to_vec();
    let (mut parts, mut left) = (2, tries);
    while steps.len() > 1 && parts <= steps.len() {
        let length = steps.len().div_ceil(parts);
        let mut shorter = None;
        for start in (0..steps.len()).step_by(length) {
            if left == 0 {
                return steps;
            }
            left -= 1;
            let without = [&steps[..start], &steps[(start + length).min(steps.len())..]].concat();
            if fails(&without) {
                shorter = Some(without);
                break;
            }
        }
        match shorter {
            Some(without) => {
                steps = without;
                parts = (parts - 1).max(2);
            }
            None if length == 1 => break,
            None => parts = (parts * 2).min(steps.len()),
        }
    }
    steps
}
