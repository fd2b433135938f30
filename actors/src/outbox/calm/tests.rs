use super::*;

#[test]
fn a_removal_that_is_alone_waits_for_the_next_two_reads_of_a_burst() {
    assert!(ALONE >= 2 * crate::read_pace::PAUSE);
}

#[test]
fn a_removal_that_stays_alone_waits_for_a_moment_and_several_for_a_pause_but_not_for_ever() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let every = |step, end| (0..=end).step_by(step).collect::<Vec<u64>>();
    for (removals, asked, until, pause) in [
        (vec![], 0, None, None),
        (vec![0], 0, Some(4), Some(50)),
        (vec![0], 4, None, Some(50)),
        (vec![0], 50, None, None),
        (vec![0, 3], 3, Some(53), Some(53)),
        (vec![0, 30], 31, Some(80), Some(80)),
        (vec![0, 30], 80, None, None),
        // After a pause each is the first one again.
        (vec![0, 50], 50, Some(54), Some(100)),
        (vec![0, 20, 70], 70, Some(74), Some(120)),
        (every(40, 9_960), 9_960, Some(10_000), Some(10_000)),
        (every(40, 20_000), 20_000, None, None),
        ([every(40, 20_000), vec![20_060]].concat(), 20_061, Some(20_064), Some(20_110)),
    ] {
        let mut calm = Calm::default();
        removals.iter().for_each(|&removal| calm.removed(false, at(removal)));
        let found = (calm.until(at(asked)), calm.until_pause(at(asked)));
        assert_eq!(found, (until.map(at), pause.map(at)), "{asked} {:?}", removals.first());
    }
}

#[test]
fn a_directory_is_never_a_single_entry() {
    let start = Instant::now();
    for removals in [&[true][..], &[true, false], &[false, true]] {
        let mut calm = Calm::default();
        removals.iter().for_each(|is_dir| calm.removed(*is_dir, start));
        calm.renamed();
        assert_eq!(calm.until(start), Some(start + PAUSE), "{removals:?}");
    }
}

#[test]
fn the_old_name_of_a_rename_waits_only_for_what_else_is_removed() {
    let start = Instant::now();
    let at = |millis| start + Duration::from_millis(millis);
    let mut calm = Calm::default();
    for n in 0..9 {
        calm.removed(false, at(n));
        calm.renamed();
        assert_eq!((calm.until(at(n)), calm.until_pause(at(n))), (None, None), "rename {n}");
    }
    calm.removed(false, at(10));
    calm.removed(false, at(11));
    calm.renamed();
    assert_eq!(calm.until(at(11)), Some(at(14)), "one is removed, and one renamed");
    calm.removed(false, at(12));
    assert_eq!(calm.until(at(12)), Some(at(62)), "two are removed");
}

#[test]
fn a_removal_that_may_be_a_half_of_a_rename_waits_for_the_other_one() {
    let start = Instant::now();
    let mut calm = Calm::default();
    calm.links_wait(NewNames::Wait, start);
    calm.removed(false, start);
    assert_eq!(calm.until(start), Some(start + PAUSE));
    calm.links_wait(NewNames::None, start);
    assert_eq!(calm.until(start), Some(start + ALONE));
    calm.links_wait(NewNames::Asked, start);
    assert_eq!(calm.until(start), Some(start + ANSWERED));
    assert_eq!(calm.until(start + ANSWERED), None, "no answer comes");
    calm.links_wait(NewNames::Asked, start + PAUSE);
    assert_eq!(calm.until(start), Some(start + PAUSE + ANSWERED), "that is another question");
    calm.links_wait(NewNames::Asked, start + AT_LATEST);
    assert_eq!(calm.until(start), Some(start + AT_LATEST), "not for ever");
    calm.renamed();
    assert_eq!(calm.until(start), None);
}

#[test]
fn a_stop_waits_for_no_pause() {
    let (mut calm, now) = (Calm::default(), Instant::now());
    calm.removed(false, now);
    calm.lift();
    calm.removed(false, now);
    assert_eq!((calm.until(now), calm.until_pause(now)), (None, None));
}

/// The removals that are mirrored before the last one comes, if each is as soon as it may be. `gaps` are in milliseconds.
fn mirrored_too_soon(gaps: impl IntoIterator<Item = f64>) -> usize {
    let (mut calm, mut now) = (Calm::default(), Instant::now());
    let (mut waiting, mut mirrored) = (0, 0);
    for gap in std::iter::once(0.0).chain(gaps) {
        now += Duration::from_secs_f64(gap / 1000.0);
        if calm.until(now).is_none() {
            mirrored += std::mem::take(&mut waiting);
        }
        calm.removed(false, now);
        waiting += 1;
    }
    mirrored
}

/// The gaps of a recorded sequence: a number of removals that came within moments, a gap in milliseconds, and so on.
fn gaps(recorded: &str) -> Vec<f64> {
    let numbers: Vec<f64> = recorded.split_whitespace().map(|number| number.parse().unwrap()).collect();
    let run = |removals: f64| vec![0.0; removals as usize - 1];
    let rest = numbers[1..].chunks(2).flat_map(|pair| [vec![pair[0]], run(pair[1])].concat());
    run(numbers[0]).into_iter().chain(rest).collect()
}

#[test]
fn of_a_tree_that_is_removed_at_most_one_entry_is_mirrored_before_all_is_gone() {
    for (what, recorded) in RECORDED {
        let gaps = gaps(recorded);
        assert_eq!(gaps.len(), 2019, "{what}");
        let expected = usize::from(gaps[0] >= 4.0);
        assert_eq!(mirrored_too_soon(gaps), expected, "{what}");
    }
    for gap in [0.01, 3.9, 4.1, 10.0, 20.0, 49.0] {
        let entries = f64::min(9_900.0 / gap, 2_000.0) as usize;
        let expected = usize::from(gap > 4.0);
        assert_eq!(mirrored_too_soon(vec![gap; entries]), expected, "one each {gap} ms");
    }
    assert_eq!(mirrored_too_soon([60.0; 9]), 9, "these are no row");
}

/// The events of 2,000 files in 20 directories and at the top that were removed from a real file system: on an idle
/// machine of two processors, with six more processes that take all they can, and with nothing of it in memory.
const RECORDED: &[(&str, &str)] = &[
    ("tmpfs, rm -rf, idle", "48 5.8 234 16.3 756 2.6 135 2.6 148 3.7 38 6.3 289 6.0 284 5.6 88"),
    (
        "ext4, rm -rf, idle",
        "5 7.0 178 17.6 105 13.9 196 9.5 231 20.2 245 3.4 10 6.8 89 3.3 17 3.0 76 3.6 32 2.9 69 3.4 29 3.1 73 \
         3.4 14 3.5 96 3.2 73 2.9 8 3.3 125 2.8 38 3.3 36 5.9 127 4.0 107 3.4 41",
    ),
    (
        "xfs, rm -rf, idle",
        "96 2.5 56 5.3 2 7.1 269 3.4 154 6.6 1 7.9 292 2.5 140 3.1 110 2.8 105 3.6 87 5.1 67 3.0 69 6.7 52 \
         15.2 300 3.8 11 5.3 42 5.2 150 3.8 9 8.2 8",
    ),
    ("btrfs, rm -rf, idle", "118 19.8 249 4.1 533 4.1 536 4.1 456 5.6 128"),
    ("overlay, rm -rf, idle", "29 2.6 164 4.8 192 10.5 546 12.0 34 3.9 433 11.2 142 3.3 384 28.2 5 8.1 91"),
    (
        "ext4, find -delete, idle",
        "103 3.5 19 3.2 79 5.5 113 2.9 103 3.0 102 7.6 174 3.6 1 4.4 349 2.6 96 3.2 6 12.2 306 4.0 96 2.7 36 \
         2.7 38 3.2 106 2.9 27 3.4 99 5.1 2 3.9 1 3.3 164",
    ),
    (
        "ext4, shutil.rmtree, idle",
        "72 3.3 14 3.4 86 3.6 37 6.1 101 3.9 91 3.4 19 3.1 73 5.4 26 2.6 11 3.5 144 2.5 15 4.9 66 3.3 17 5.9 \
         167 3.8 62 4.2 89 3.1 7 3.7 114 2.7 4 4.1 72 4.1 95 11.8 176 2.6 34 3.0 66 4.9 34 2.7 83 4.6 83 2.9 \
         47 2.6 60 3.9 22 2.5 33",
    ),
    (
        "ext4, mv out, idle",
        "1 4.2 115 11.9 116 2.8 86 2.6 8 4.7 74 3.7 25 6.5 111 3.6 56 3.2 12 4.2 34 2.5 66 3.8 39 2.7 39 3.2 \
         23 6.7 122 3.0 73 2.8 68 3.4 38 2.6 125 3.6 198 5.1 87 4.1 184 2.7 106 3.8 119 2.6 36 6.6 59",
    ),
    ("tmpfs, rm -rf, loaded", "1 7.3 470 16.1 537 28.0 608 31.8 404"),
    (
        "ext4, rm -rf, loaded",
        "193 13.6 96 7.7 97 7.8 95 2.8 1 12.0 96 17.2 191 16.8 96 9.5 96 4.0 164 6.7 273 8.0 114 6.3 263 4.1 \
         143 3.7 102",
    ),
    (
        "xfs, rm -rf, loaded",
        "1 15.2 184 12.0 237 8.5 258 11.9 258 7.9 34 5.0 279 3.4 64 6.3 173 4.3 168 3.2 90 11.5 164 5.3 110",
    ),
    (
        "btrfs, rm -rf, loaded",
        "57 4.0 83 8.9 149 8.0 117 4.3 75 12.6 96 11.7 96 3.9 96 16.3 96 8.0 96 15.8 96 3.9 96 22.0 97 10.2 \
         96 12.3 97 11.9 97 21.6 96 4.1 50 7.0 55 12.5 120 2.5 15 14.9 144",
    ),
    ("overlay, rm -rf, loaded", "170 16.1 470 19.3 406 4.6 66 28.7 342 9.4 160 7.4 121 2.6 265 31.9 20"),
    (
        "ext4, find -delete, loaded",
        "99 48.1 345 20.0 148 22.9 98 8.9 121 36.3 215 47.9 64 12.0 99 11.9 49 4.7 2 3.7 19 3.2 126 13.1 2 \
         6.9 38 4.0 23 3.3 79 3.0 1 3.6 80 19.3 9 6.4 9 6.7 84 4.6 96 7.4 114 4.2 7 11.9 93",
    ),
    (
        "ext4, shutil.rmtree, loaded",
        "99 20.0 346 13.3 348 20.8 102 22.0 98 17.2 122 3.9 176 28.0 204 31.9 82 4.2 1 35.8 440 27.8 2",
    ),
    (
        "ext4, mv out, loaded",
        "1 20.1 211 4.2 161 24.4 124 19.1 95 4.3 95 23.8 121 6.8 99 18.0 189 20.0 187 19.9 135 2.9 32 14.9 \
         143 20.0 184 20.0 170 17.8 73",
    ),
    ("tmpfs, rm -rf, cold", "501 3.7 1161 2.8 358"),
    ("ext4, rm -rf, cold", "1066 24.5 759 4.2 195"),
    ("xfs, rm -rf, cold", "13 2.7 35 3.2 19 2.5 126 3.7 288 3.5 157 4.4 46 3.7 373 4.7 52 3.2 465 4.2 346 2.5 100"),
    ("btrfs, rm -rf, cold", "141 2.6 181 3.2 271 3.1 385 3.6 561 3.1 177 2.5 304"),
    ("overlay, rm -rf, cold", "193 3.3 295 3.8 373 3.9 288 4.0 636 4.4 235"),
];
