//! The slots: which number is in which stage of its life, and which is to be built next. Pure: what a
//! stage is made of is the forker's business (`crate::slot`), which hands the steps in as functions. A
//! number is used again only after its slot is gone, and a slot is prepared and bound at most once, since
//! the step consumes it.

use std::collections::BTreeMap;

/// The types of the five stages, and what tells one slot from another.
pub(crate) trait Stages {
    type Kind: PartialEq + Clone;
    type Building;
    type Parked;
    type Prepared;
    type Bound;
    type Dying;
}

/// One slot's stage.
enum Life<S: Stages> {
    Building(S::Building),
    Parked(S::Parked),
    Prepared(S::Prepared),
    Bound(S::Bound),
    Dying(S::Dying),
}

/// A step that did not succeed: what is left, and why.
pub(crate) type Failed<S, E> = Box<(<S as Stages>::Dying, E)>;

/// A slot that ends.
pub(crate) enum Ending<S: Stages> {
    Parked(S::Parked),
    Prepared(S::Prepared),
    Bound(S::Bound),
}

/// Every slot that is there.
pub(crate) struct Pool<S: Stages> {
    slots: BTreeMap<u32, (S::Kind, Life<S>)>,
    slots_max: u32,
    building_max: usize,
}

impl<S: Stages> Pool<S> {
    /// No slot yet; numbers are below `slots_max`, and at most `building_max` are built at once.
    pub(crate) const fn new(slots_max: u32, building_max: usize) -> Self {
        Self { slots: BTreeMap::new(), slots_max, building_max }
    }

    fn lives(&self) -> impl Iterator<Item = &Life<S>> {
        self.slots.values().map(|(_, life)| life)
    }

    /// How many of this kind are parked or will be.
    fn coming(&self, kind: &S::Kind) -> usize {
        let comes = |life: &Life<S>| matches!(life, Life::Building(_) | Life::Parked(_));
        self.slots.values().filter(|(of, life)| of == kind && comes(life)).count()
    }

    /// What to build next: first for the calls that wait, then for the stock; `None` when there is
    /// enough, enough is being built, or no number is free. `is_free` has the last word on a number.
    pub(crate) fn next(
        &self,
        waiting: &[S::Kind],
        stock: &[(S::Kind, usize)],
        is_free: impl Fn(u32) -> bool,
    ) -> Option<(u32, S::Kind)> {
        let building = self.lives().filter(|life| matches!(life, Life::Building(_))).count();
        if building >= self.building_max {
            return None;
        }
        let calls = |kind: &S::Kind| waiting.iter().filter(|wanted| *wanted == kind).count();
        let for_calls = waiting.iter().find(|kind| self.coming(kind) < calls(kind));
        let for_stock = stock.iter().find(|(kind, wanted)| self.coming(kind) < *wanted);
        let kind = for_calls.or_else(|| for_stock.map(|(kind, _)| kind))?;
        let free = |number: &u32| !self.slots.contains_key(number) && is_free(*number);
        let number = (0..self.slots_max).find(free)?;
        Some((number, kind.clone()))
    }

    /// A slot that was begun; its number is free, as [`Pool::next`] said.
    pub(crate) fn begun(&mut self, number: u32, kind: S::Kind, building: S::Building) {
        self.slots.insert(number, (kind, Life::Building(building)));
    }

    /// Takes a step from building: to parked, or to dying if it failed. Of one that failed its kind, and
    /// why.
    pub(crate) fn park<E>(
        &mut self,
        number: u32,
        step: impl FnOnce(S::Building) -> Result<S::Parked, Failed<S, E>>,
    ) -> Option<(S::Kind, E)> {
        match self.slots.remove(&number)? {
            (kind, Life::Building(building)) => {
                let (life, failed) = match step(building) {
                    Ok(parked) => (Life::Parked(parked), None),
                    Err(failed) => {
                        let (dying, why) = *failed;
                        (Life::Dying(dying), Some((kind.clone(), why)))
                    }
                };
                self.slots.insert(number, (kind, life));
                failed
            }
            other => {
                self.slots.insert(number, other);
                None
            }
        }
    }

    /// Prepares the first parked slot of this kind for a call: its number, or why it could not be;
    /// `None` if none is parked.
    pub(crate) fn prepare<E>(
        &mut self,
        kind: &S::Kind,
        step: impl FnOnce(S::Parked) -> Result<S::Prepared, Failed<S, E>>,
    ) -> Option<Result<u32, E>> {
        let fits = |(of, life): &(S::Kind, Life<S>)| of == kind && matches!(life, Life::Parked(_));
        let number = self.slots.iter().find(|(_, slot)| fits(slot)).map(|(number, _)| *number)?;
        let (kind, life) = self.slots.remove(&number)?;
        let Life::Parked(parked) = life else { return None };
        let (life, came) = match step(parked) {
            Ok(prepared) => (Life::Prepared(prepared), Ok(number)),
            Err(failed) => {
                let (dying, why) = *failed;
                (Life::Dying(dying), Err(why))
            }
        };
        self.slots.insert(number, (kind, life));
        Some(came)
    }

    /// Lets a prepared slot begin its call, or says why it could not; nothing for a slot of another
    /// stage.
    pub(crate) fn bind<E>(
        &mut self,
        number: u32,
        step: impl FnOnce(S::Prepared) -> Result<S::Bound, Failed<S, E>>,
    ) -> Option<Result<(), E>> {
        let (kind, life) = self.slots.remove(&number)?;
        let (life, came) = match life {
            Life::Prepared(prepared) => match step(prepared) {
                Ok(bound) => (Life::Bound(bound), Some(Ok(()))),
                Err(failed) => {
                    let (dying, why) = *failed;
                    (Life::Dying(dying), Some(Err(why)))
                }
            },
            other => (other, None),
        };
        self.slots.insert(number, (kind, life));
        came
    }

    /// Takes a step from parked, prepared or bound to dying; nothing for a slot of another stage.
    pub(crate) fn end(&mut self, number: u32, step: impl FnOnce(Ending<S>) -> S::Dying) {
        let Some((kind, life)) = self.slots.remove(&number) else { return };
        let life = match life {
            Life::Parked(parked) => Life::Dying(step(Ending::Parked(parked))),
            Life::Prepared(prepared) => Life::Dying(step(Ending::Prepared(prepared))),
            Life::Bound(bound) => Life::Dying(step(Ending::Bound(bound))),
            other => other,
        };
        self.slots.insert(number, (kind, life));
    }

    /// Forgets the dying ones of which `is_gone` says that nothing is left.
    pub(crate) fn reap(&mut self, mut is_gone: impl FnMut(&mut S::Dying) -> bool) {
        self.slots.retain(|_, (_, life)| match life {
            Life::Dying(dying) => !is_gone(dying),
            _ => true,
        });
    }

    /// Whether one of this kind is parked.
    pub(crate) fn has_parked(&self, kind: &S::Kind) -> bool {
        self.slots.values().any(|(of, life)| of == kind && matches!(life, Life::Parked(_)))
    }

    pub(crate) fn building(&self) -> impl Iterator<Item = (u32, &S::Building)> {
        self.slots.iter().filter_map(|(number, (_, life))| match life {
            Life::Building(building) => Some((*number, building)),
            _ => None,
        })
    }

    pub(crate) fn parked(&self) -> impl Iterator<Item = (u32, &S::Parked)> {
        self.slots.iter().filter_map(|(number, (_, life))| match life {
            Life::Parked(parked) => Some((*number, parked)),
            _ => None,
        })
    }

    pub(crate) fn prepared(&self) -> impl Iterator<Item = (u32, &S::Prepared)> {
        self.slots.iter().filter_map(|(number, (_, life))| match life {
            Life::Prepared(prepared) => Some((*number, prepared)),
            _ => None,
        })
    }

    pub(crate) fn bound(&self) -> impl Iterator<Item = (u32, &S::Bound)> {
        self.slots.iter().filter_map(|(number, (_, life))| match life {
            Life::Bound(bound) => Some((*number, bound)),
            _ => None,
        })
    }

    pub(crate) fn dying(&self) -> impl Iterator<Item = &S::Dying> {
        self.lives().filter_map(|life| match life {
            Life::Dying(dying) => Some(dying),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::collections::BTreeSet;

    /// Every slot ever begun has a name of its own, which all its stages carry.
    struct Names;

    impl Stages for Names {
        type Kind = bool;
        type Building = u32;
        type Parked = u32;
        type Prepared = u32;
        type Bound = u32;
        type Dying = u32;
    }

    /// What may happen to the pool, next.
    #[derive(Debug, Clone, Copy)]
    enum Event {
        Build,
        Parks(u32),
        Fails(u32),
        Spec(bool),
        SpecFails(bool),
        Ticket(u32),
        TicketFails(u32),
        Ends(u32),
        Gone(u32),
        NotFree(u32),
    }

    const SLOTS: u32 = 2;

    fn events() -> Vec<Event> {
        let each = |event: fn(u32) -> Event| (0..SLOTS).map(event);
        let specs = [Event::Spec(false), Event::Spec(true), Event::SpecFails(true)];
        std::iter::once(Event::Build)
            .chain(specs)
            .chain(each(Event::Ticket))
            .chain(each(Event::TicketFails))
            .chain(each(Event::Parks))
            .chain(each(Event::Fails))
            .chain(each(Event::Ends))
            .chain(each(Event::Gone))
            .chain(each(Event::NotFree))
            .collect()
    }

    /// A pool after some events, and what was seen of every slot.
    struct Seen {
        pool: Pool<Names>,
        begun: u32,
        prepared: BTreeSet<u32>,
        bound: BTreeSet<u32>,
        killed: BTreeSet<u32>,
        gone: BTreeSet<u32>,
        busy: BTreeSet<u32>,
    }

    impl Seen {
        fn after(history: &[Event]) -> Self {
            let (pool, none) = (Pool::new(SLOTS, 2), BTreeSet::new);
            let (prepared, bound, killed, gone, busy) = (none(), none(), none(), none(), none());
            let mut seen = Self { pool, begun: 0, prepared, bound, killed, gone, busy };
            history.iter().for_each(|event| seen.step(*event));
            seen
        }

        fn step(&mut self, event: Event) {
            let Self { pool, begun, prepared, bound, killed, gone, busy } = self;
            let mut kill = |name: u32| {
                assert!(killed.insert(name), "{name} is killed once");
                name
            };
            match event {
                Event::Build => {
                    let stock = [(false, 1), (true, 2)];
                    let next = pool.next(&[true], &stock, |number| !busy.contains(&number));
                    if let Some((number, kind)) = next {
                        assert!(!pool.slots.contains_key(&number) && !busy.contains(&number));
                        pool.begun(number, kind, *begun);
                        *begun += 1;
                    }
                }
                Event::Parks(number) => {
                    assert!(pool.park::<()>(number, Ok).is_none());
                }
                Event::Fails(number) => {
                    pool.park(number, |name| Err(Box::new((kill(name), ()))));
                }
                Event::Spec(kind) => {
                    pool.prepare::<()>(&kind, |name| {
                        assert!(prepared.insert(name), "{name} is prepared once");
                        Ok(name)
                    });
                }
                Event::SpecFails(kind) => {
                    pool.prepare(&kind, |name| Err(Box::new((kill(name), ()))));
                }
                Event::Ticket(number) => {
                    pool.bind::<()>(number, |name| {
                        assert!(prepared.contains(&name), "{name} was prepared");
                        assert!(bound.insert(name), "{name} is bound once");
                        Ok(name)
                    });
                }
                Event::TicketFails(number) => {
                    pool.bind(number, |name| Err(Box::new((kill(name), ()))));
                }
                Event::Ends(number) => {
                    let ended = Cell::new(None);
                    pool.end(number, |ending| {
                        let (Ending::Parked(name) | Ending::Prepared(name) | Ending::Bound(name)) =
                            ending;
                        ended.set(Some(name));
                        name
                    });
                    ended.get().map(kill);
                }
                Event::Gone(number) => {
                    let of = pool.slots.get(&number).and_then(|(_, life)| match life {
                        Life::Dying(name) => Some(*name),
                        _ => None,
                    });
                    pool.reap(|name| Some(*name) == of);
                    assert_eq!(of.is_some(), of.is_some_and(|name| gone.insert(name)), "gone once");
                }
                Event::NotFree(number) => {
                    if !busy.remove(&number) {
                        busy.insert(number);
                    }
                }
            }
            self.holds();
        }

        /// No slot is lost or there twice, whatever happened.
        fn holds(&self) {
            let name = |life: &Life<Names>| match life {
                Life::Building(name)
                | Life::Parked(name)
                | Life::Prepared(name)
                | Life::Bound(name)
                | Life::Dying(name) => *name,
            };
            let there: Vec<u32> = self.pool.lives().map(name).collect();
            let different: BTreeSet<u32> = there.iter().copied().collect();
            assert_eq!(there.len(), different.len());
            let all: BTreeSet<u32> = different.union(&self.gone).copied().collect();
            assert_eq!(all, (0..self.begun).collect(), "every slot is there or gone");
            assert!(different.is_disjoint(&self.gone));
            assert!(self.gone.is_subset(&self.killed), "nothing is gone that was not ended");
            let serves = self.pool.bound().map(|(_, name)| *name);
            assert!(serves.into_iter().all(|name| !self.killed.contains(&name)));
        }
    }

    #[test]
    fn every_order_of_six_events_keeps_each_slot_to_one_life_and_one_call() {
        let events = events();
        let mut histories = vec![Vec::new()];
        for _ in 0..6 {
            let mut longer = Vec::new();
            for history in &histories {
                for event in &events {
                    let mut history: Vec<Event> = history.clone();
                    history.push(*event);
                    longer.push(history);
                }
            }
            // what changes nothing leads nowhere new: only histories that differ in their pool go on
            longer.sort_by_key(|history| shape(history));
            longer.dedup_by_key(|history| shape(history));
            histories = longer;
        }
        assert!(histories.len() > 50, "{}", histories.len());
    }

    /// Everything that later events can depend on, names replaced by what became of them.
    fn shape(history: &[Event]) -> Vec<String> {
        let seen = Seen::after(history);
        let life = |(number, (kind, life)): (&u32, &(bool, Life<Names>))| {
            let stage = match life {
                Life::Building(_) => "building",
                Life::Parked(_) => "parked",
                Life::Prepared(_) => "prepared",
                Life::Bound(_) => "bound",
                Life::Dying(_) => "dying",
            };
            format!("{number} {kind} {stage}")
        };
        let mut shape: Vec<String> = seen.pool.slots.iter().map(life).collect();
        shape.push(format!("{:?}", seen.busy));
        shape
    }

    #[test]
    fn calls_come_before_the_stock_and_never_more_than_the_bound_is_built() {
        let mut pool = Pool::<Names>::new(4, 2);
        let stock = [(false, 3)];
        assert_eq!(pool.next(&[true], &stock, |_| true), Some((0, true)));
        pool.begun(0, true, 0);
        assert_eq!(pool.next(&[true], &stock, |number| number != 1), Some((2, false)));
        pool.begun(2, false, 1);
        assert_eq!(pool.next(&[true, true], &stock, |_| true), None, "two are being built");
        assert_eq!(pool.park::<()>(0, Ok), None);
        assert_eq!(pool.next(&[true, true], &stock, |_| true), Some((1, true)));
        assert_eq!(pool.prepare::<()>(&false, Ok), None, "of another kind, or not parked yet");
        assert_eq!(pool.bind::<()>(0, Ok), None, "not prepared yet");
        assert_eq!(pool.prepare::<()>(&true, Ok), Some(Ok(0)));
        assert_eq!(pool.prepare::<()>(&true, Ok), None);
        assert_eq!(pool.bind::<()>(0, Ok), Some(Ok(())));
        assert_eq!(pool.bind::<()>(0, Ok), None);
    }
}
