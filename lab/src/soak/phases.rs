//! The long run: one phase after the other, each with another load, another change of the interfaces, another trouble, and
//! short captures meanwhile. At the end of each everything is as it was, and so have the long captures to be.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{
    Soak,
    deck::Deck,
    load::{PATTERNS, Pattern},
    report::{Line, Report},
    residents::{Resident, TROUBLES, Trouble, trouble},
    traffic::Traffic,
    visitors::{Incident, Shapes, Visit},
    world::{CHANGES, Change, World},
};
use crate::random::Random;

/// Short captures in each phase.
const VISITS: usize = 2;
/// After so many phases one of the long captures, each but the first in turn, is started again with another filter.
const LIFE: usize = 15;

/// What is drawn from.
struct Decks {
    patterns: Deck<Pattern>,
    changes: Deck<Change>,
    troubles: Deck<Trouble>,
    incidents: Deck<Incident>,
    shapes: Shapes,
}

/// A run.
struct Run<'a> {
    soak: &'a Soak,
    random: Random,
    decks: Decks,
    traffic: Traffic,
    residents: Vec<Resident>,
    world: World,
    report: Report,
}

/// Runs for so long, and ends with the phase in which the time is over.
pub(super) fn perform(soak: &Soak, time: Duration, seed: u64) -> Result<()> {
    let start = Instant::now();
    let mut random = Random::new(seed);
    let traffic = Traffic::new(soak, &mut random)?;
    let world = World::new()?;
    let residents = Resident::start_all(soak, &world, &mut random)?;
    let decks = Decks {
        patterns: Deck::new(PATTERNS),
        changes: Deck::new(CHANGES),
        troubles: Deck::new(TROUBLES),
        incidents: Deck::new(Incident::ALL),
        shapes: Shapes::new(),
    };
    let mut run = Run { soak, random, decks, traffic, residents, world, report: Report::new(start) };
    run.first_rest()?;
    let mut phase = 0;
    while start.elapsed() < time {
        phase += 1;
        run.phase(phase).with_context(|| format!("phase {phase}"))?;
    }
    run.end()
}

impl Run<'_> {
    fn phase(&mut self, number: usize) -> Result<()> {
        let pattern = self.decks.patterns.draw(&mut self.random);
        let load = self.world.load.begin(pattern, &mut self.random)?;
        let change = self.decks.changes.draw(&mut self.random);
        let change = self.world.begin(change, &mut self.random).with_context(|| format!("{change:?}"))?;
        let now = self.decks.troubles.draw(&mut self.random);
        trouble(&mut self.residents, now, true)?;
        let mut visits = Vec::new();
        for visit in 0..VISITS {
            let incident = self.decks.incidents.draw(&mut self.random);
            let shape = self.decks.shapes.draw(incident, &mut self.random);
            let words = format!("{} ({})", shape.words(), incident.words());
            let visit = Visit {
                soak: self.soak,
                traffic: &self.traffic,
                name: format!("short-{number}-{visit}"),
                incident,
                shape,
            };
            let summary = visit.run(&self.world, &mut self.random).with_context(|| words.clone())?;
            self.report.short(incident, shape, &summary);
            visits.push(words);
            self.sample()?;
        }
        self.world.end()?;
        self.sample()?;
        trouble(&mut self.residents, now, false)?;
        self.world.load.end()?;
        self.residents.iter_mut().try_for_each(Resident::rest)?;
        let happens = [load, change, now.words()].into_iter().chain(visits);
        let happens: Vec<String> = happens.filter(|words| !words.is_empty()).collect();
        self.report.print(&Line::new(number, &happens, &self.residents));
        if number.is_multiple_of(LIFE) {
            // The first lives as long as the run.
            let place = 1 + number / LIFE % (self.residents.len() - 1);
            let (again, summary, life) =
                self.residents.remove(place).again(self.soak, &self.world, &mut self.random)?;
            self.residents.insert(place, again);
            self.report.long(&summary, life);
            self.first_rest()?;
        }
        Ok(())
    }

    /// Has new captures see all flows before they are looked at.
    fn first_rest(&mut self) -> Result<()> {
        self.world.load.send_all_flows()?;
        self.residents.iter_mut().try_for_each(Resident::rest)
    }

    /// Looks at the long captures.
    fn sample(&mut self) -> Result<()> {
        self.residents.iter_mut().try_for_each(|resident| resident.subject.sample())
    }

    fn end(mut self) -> Result<()> {
        for resident in self.residents {
            let (summary, life) = resident.end()?;
            self.report.long(&summary, life);
        }
        self.report.end(self.world.load.sent());
        Ok(())
    }
}
