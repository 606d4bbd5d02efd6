//! An exact search for few series: found, or proven not to exist.
//!
//! This is set cover; the sets are the series within the times that cannot be extended. Give each time a weight such that
//! no series weighs more than one: then every cover has at least as many series as all times weigh together (weak duality).
//! A cover by `most` series may waste `most` minus that bound, where a series wastes what it weighs less than one, and a
//! time its weight whenever it is covered again. Close to the best weights, few series waste so little, and all covers
//! by them can be tried.
//!
//! The weights come from a game: in each round, the times of the heaviest series lose part of theirs. They are normalized
//! over all series before they are used, so a proof does not depend on how well the game went.

use super::series::{DAY_MINUTES, Series};

/// The part of its weight that a time keeps, and for how many rounds: small steps come closer to the best weights.
const GAME: [(f64, usize); 4] = [(0.93, 600), (0.98, 3000), (0.995, 6000), (0.998, 10_000)];
/// Where more series are cheap enough, the cheapest of them make a cover if any do.
const MOST_CANDIDATES: usize = 3000;
/// Choices that are tried. Dozens are usual.
const MOST_CHOICES: usize = 10_000;
/// Far above the rounding of sums, and far below one series.
const ROUNDING: f64 = 1e-6;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Search {
    /// At most `most` series that have the times and no others.
    Found(Vec<Series>),
    /// Proven: no `most` series do.
    Impossible,
    /// Neither was decided within [`MOST_CHOICES`].
    GaveUp,
}

/// Looks for at most `most` series that together are exactly these times, given in ascending order.
pub(super) fn search(times: &[u16], most: usize) -> Search {
    let all = longest_series(times);
    let enough = most as f64 + ROUNDING;
    let (mut weights, mut bound) = (Vec::new(), 0.0);
    // Series that are much shorter than those of a cover join only when they are the heaviest.
    let (long, short): (Vec<_>, Vec<_>) =
        all.iter().partition(|series| usize::from(series.count) * 4 * most > times.len());
    let mut game = Game::new(times);
    game.join(long);
    for (factor, rounds) in GAME {
        loop {
            game.play(factor, rounds, enough);
            let heaviest = game.heaviest_of_best();
            let heavier: Vec<Series> = short
                .iter()
                .filter(|series| weight(series, &game.best) > heaviest * (1.0 + ROUNDING))
                .copied()
                .collect();
            if heavier.is_empty() {
                break;
            }
            game.join(heavier);
        }
        if game.bound > bound {
            let heaviest = all.iter().map(|series| weight(series, &game.best)).fold(0.0, f64::max);
            weights = game.best.iter().map(|weight| weight / heaviest).collect();
            bound = weights.iter().sum();
        }
        if bound > enough {
            return Search::Impossible;
        }
    }
    // The fewest first: the less may be wasted, the fewer candidates there are.
    let mut outcome = Search::Impossible;
    for most in (bound - ROUNDING).ceil() as usize..=most {
        outcome = cover_within(times, &all, &weights, most, most as f64 - bound + ROUNDING);
        if matches!(outcome, Search::Found(_)) {
            break;
        }
    }
    outcome
}

/// Tries the covers by at most `most` series that waste at most `waste`.
fn cover_within(times: &[u16], all: &[Series], weights: &[f64], most: usize, waste: f64) -> Search {
    let mut candidates: Vec<(f64, Series)> =
        all.iter().map(|series| (1.0 - weight(series, weights), *series)).collect();
    candidates.retain(|(wasted, _)| *wasted <= waste);
    candidates.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let is_all = candidates.len() <= MOST_CANDIDATES;
    let candidates = candidates.into_iter().map(|(_, series)| series).take(MOST_CANDIDATES).collect();
    let (covered, chosen) = (vec![0; DAY_MINUTES], Vec::new());
    let mut choices = Choices { times, candidates, weights, covered, chosen, left: MOST_CHOICES };
    match choices.complete(most, waste) {
        Some(true) => Search::Found(choices.chosen),
        Some(false) if is_all => Search::Impossible,
        _ => Search::GaveUp,
    }
}

fn weight(series: &Series, weights: &[f64]) -> f64 {
    series.values().map(|time| weights[usize::from(time)]).sum()
}

/// All series within the times that cannot be extended.
fn longest_series(times: &[u16]) -> Vec<Series> {
    let mut has = [false; DAY_MINUTES];
    times.iter().for_each(|&time| has[usize::from(time)] = true);
    let has = |time: u16| has.get(usize::from(time)).is_some_and(|has| *has);
    let mut all = Vec::new();
    for (i, &first) in times.iter().enumerate() {
        for step in times[i + 1..].iter().map(|second| second - first) {
            if first < step || !has(first - step) {
                let count = (0..).take_while(|k| has(first + k * step)).count() as u16;
                all.push(Series { first, step, count });
            }
        }
    }
    if let [only] = times {
        all.push(Series { first: *only, step: 1, count: 1 });
    }
    all
}

/// The weights, and those of the best bound so far, by the series that have joined.
struct Game {
    weights: Vec<f64>,
    total: f64,
    best: Vec<f64>,
    bound: f64,
    players: Vec<Series>,
    loads: Vec<f64>,
    /// The players that have each time.
    players_of: Vec<Vec<usize>>,
}

impl Game {
    fn new(times: &[u16]) -> Self {
        let mut weights = vec![0.0; DAY_MINUTES];
        times.iter().for_each(|&time| weights[usize::from(time)] = 1.0);
        let players_of = vec![Vec::new(); DAY_MINUTES];
        Self {
            best: weights.clone(),
            weights,
            total: times.len() as f64,
            bound: 0.0,
            players: Vec::new(),
            loads: Vec::new(),
            players_of,
        }
    }

    fn join(&mut self, more: Vec<Series>) {
        for series in more {
            series.values().for_each(|time| self.players_of[usize::from(time)].push(self.players.len()));
            self.loads.push(weight(&series, &self.weights));
            self.players.push(series);
        }
        self.bound = 0.0;
    }

    fn heaviest_of_best(&self) -> f64 {
        self.players.iter().map(|series| weight(series, &self.best)).fold(0.0, f64::max)
    }

    /// Returns early when the bound passes `enough`.
    fn play(&mut self, factor: f64, rounds: usize, enough: f64) {
        for _ in 0..rounds {
            let heaviest = self.loads.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
            let Some((player, &load)) = heaviest else { return };
            let bound = self.total / load;
            if bound > self.bound {
                self.bound = bound;
                self.best.clone_from(&self.weights);
            }
            if bound > enough {
                return;
            }
            for time in self.players[player].values().map(usize::from) {
                let lost = self.weights[time] * (1.0 - factor);
                self.weights[time] -= lost;
                self.total -= lost;
                self.players_of[time].iter().for_each(|&player| self.loads[player] -= lost);
            }
        }
    }
}

/// A partial cover, and what it may be completed with.
struct Choices<'t> {
    times: &'t [u16],
    candidates: Vec<Series>,
    weights: &'t [f64],
    /// How many chosen series have each time.
    covered: Vec<u8>,
    chosen: Vec<Series>,
    left: usize,
}

impl Choices<'_> {
    /// Completes the cover with at most `most` series that waste at most `waste`, or leaves it as it was. `None` after
    /// [`MOST_CHOICES`].
    fn complete(&mut self, most: usize, waste: f64) -> Option<bool> {
        let mut affordable: Vec<(f64, Series)> =
            self.candidates.iter().map(|series| (self.wasted_by(series), *series)).collect();
        affordable.retain(|(wasted, _)| *wasted <= waste);
        let mut choices = [0_u32; DAY_MINUTES];
        for (_, series) in &affordable {
            series.values().for_each(|time| choices[usize::from(time)] += 1);
        }
        let open = self.times.iter().filter(|&&time| self.covered[usize::from(time)] == 0);
        let Some(&time) = open.min_by_key(|&&time| choices[usize::from(time)]) else { return Some(true) };
        if most == 0 {
            return Some(false);
        }
        affordable.retain(|(_, series)| series.values().any(|value| value == time));
        affordable.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        for (wasted, series) in affordable {
            self.left = self.left.checked_sub(1)?;
            self.chosen.push(series);
            series.values().for_each(|time| self.covered[usize::from(time)] += 1);
            if self.complete(most - 1, waste - wasted)? {
                return Some(true);
            }
            self.chosen.pop();
            series.values().for_each(|time| self.covered[usize::from(time)] -= 1);
        }
        Some(false)
    }

    fn wasted_by(&self, series: &Series) -> f64 {
        let new = series.values().map(usize::from).filter(|&time| self.covered[time] == 0);
        1.0 - new.map(|time| self.weights[time]).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The fewest series, by trying all.
    fn fewest(times: &[u16]) -> usize {
        let bits = |series: &Series| series.values().fold(0_u32, |set, time| set | 1 << time);
        let sets: Vec<u32> = longest_series(times).iter().map(bits).collect();
        let all = times.iter().fold(0, |set, time| set | 1 << time);
        let mut reached = std::collections::BTreeSet::from([0_u32]);
        (0..)
            .find(|_| {
                let is_done = reached.contains(&all);
                reached = reached.iter().flat_map(|set| sets.iter().map(move |more| set | more)).collect();
                is_done
            })
            .unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn the_fewest_series_are_found_and_fewer_are_impossible(times in prop::collection::btree_set(0..14_u16, 1..11)) {
            let times: Vec<u16> = times.into_iter().collect();
            let fewest = fewest(&times);
            prop_assert_eq!(search(&times, fewest - 1), Search::Impossible);
            let Search::Found(found) = search(&times, fewest) else { panic!("{times:?} takes {fewest}") };
            prop_assert!(found.len() <= fewest);
            let covered: std::collections::BTreeSet<u16> = found.iter().flat_map(|series| series.values()).collect();
            prop_assert_eq!(covered.into_iter().collect::<Vec<_>>(), times);
        }
    }
}
