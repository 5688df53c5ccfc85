//! Whole simulations, small ones.

use super::*;

fn violations(settings: &Settings) -> Vec<String> {
    run(settings).unwrap().violations
}

#[test]
fn a_seed_gives_the_same_schedule_to_the_byte() {
    // On threads of their own at the same time, because hash tables have another order on each.
    let start = |seed| std::thread::spawn(move || run(&Settings::new(seed, 60)).unwrap().hash);
    let hashes = [1, 2, 3, 1, 2, 3].map(start).map(|thread| thread.join().unwrap());
    assert_eq!(hashes[..3], hashes[3..]);
    assert_ne!(hashes[0], hashes[1]);
}

#[test]
fn every_property_holds_in_some_seeds() {
    for seed in 1..=8 {
        assert_eq!(violations(&Settings::new(seed, 60)), Vec::<String>::new(), "seed {seed}");
    }
}

#[test]
fn messages_and_faults_can_be_left_out() {
    let whole = run(&Settings::new(5, 60)).unwrap();
    let settings = Settings::new(5, 60).only(Some(vec![3, 4]), Some(Vec::new())).unwrap();
    let part = run(&settings).unwrap();
    assert!(whole.faults() > 0, "{whole:?}");
    assert_eq!((part.stored, part.faults()), (2, 0));
    assert!(Settings::new(5, 60).only(None, Some(vec!["x".to_owned()])).is_err());
}
