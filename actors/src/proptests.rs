//! The cases of the tests with proptest: the same each time, more of them and others by `PROPTEST_CASES` and
//! `PROPTEST_RNG_SEED`.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

/// So many cases, unless the environment says how many.
pub(crate) fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let chosen = std::env::var_os("PROPTEST_CASES").is_some();
    let rng_seed = match default.rng_seed {
        RngSeed::Random => RngSeed::Fixed(1),
        fixed => fixed,
    };
    ProptestConfig { cases: if chosen { default.cases } else { cases }, rng_seed, ..default }
}
