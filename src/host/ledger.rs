//! The list of paired clients and its changes on their way to the disk.
//!
//! Changes are written one after another. What gives something, and a new name, hold once they are
//! written; what takes something holds at once, and is written after: unpairing, and grants taken.

#![forbid(unsafe_code)]

use std::collections::VecDeque;

use punktfunk_core::proto::cert::Fingerprint;

use crate::grants::Grants;
use crate::trust::{Client, Error, Trust};

/// Changes that wait behind the one being written. One more is refused.
const WAITING_COUNT_MAX: usize = 32;

/// One change of the list.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Other grants for a client.
    Grant {
        /// The client.
        fingerprint: Fingerprint,
        /// What it may do from now on.
        given: Grants,
        /// What it may not.
        taken: Grants,
    },
    /// A client more. Its name is made free when the change is made; one that is known keeps its
    /// name and its grants.
    Pair(Client),
    /// Another name for a client.
    Rename(Fingerprint, String),
    /// A client less.
    Unpair(Fingerprint),
}

/// The list, and changes under way; `T` is who wants to hear of each.
#[derive(Debug)]
pub struct Ledger<T> {
    trust: Trust,
    writing: Option<(Change, T)>,
    waiting: VecDeque<(Change, T)>,
}

/// What a change came to.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    /// It holds and is on the disk.
    Done,
    /// It was not possible.
    Refused(Error),
    /// The file could not be written, for this reason. Only what was taken is gone all the same.
    NotWritten(String),
}

impl<T> Ledger<T> {
    /// A ledger that begins with what the file holds.
    pub fn new(trust: Trust) -> Ledger<T> {
        Ledger { trust, writing: None, waiting: VecDeque::new() }
    }

    /// The list as it holds now.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Takes a change. An error gives the waiter back: too many wait already, so this one will not
    /// be written. After each call, [`Ledger::poll_write`] is to be asked.
    pub fn handle_change(&mut self, change: Change, waiter: T) -> Result<(), T> {
        self.take(&change);
        if self.waiting.len() >= WAITING_COUNT_MAX {
            return Err(waiter);
        }
        self.waiting.push_back((change, waiter));
        Ok(())
    }

    /// The next thing to do: bytes for the file, or a waiter whose change was not possible.
    pub fn poll_write(&mut self) -> Option<Result<Vec<u8>, (T, Error)>> {
        if self.writing.is_some() {
            return None;
        }
        let (mut change, waiter) = self.waiting.pop_front()?;
        if let Change::Pair(client) = &mut change {
            client.name = match self.trust.client(&client.certificate) {
                Some(known) => known.name.clone(),
                None => self.trust.free_name(&client.name),
            };
        }
        match self.after(&change) {
            Ok(trust) => {
                let bytes = trust.emit();
                self.writing = Some((change, waiter));
                Some(Ok(bytes))
            }
            Err(error) => Some(Err((waiter, error))),
        }
    }

    /// The bytes of the last [`Ledger::poll_write`] are on the disk, or why not.
    pub fn handle_written(&mut self, written: Result<(), String>) -> Option<(T, Outcome)> {
        let (change, waiter) = self.writing.take()?;
        let outcome = match written {
            Err(why) => Outcome::NotWritten(why),
            Ok(()) if self.is_revoked(&change) => Outcome::Refused(Error::Unknown),
            // The list may have lost clients since, never gained any.
            Ok(()) => match self.after(&change) {
                Ok(trust) => {
                    self.trust = trust;
                    // What a later change takes stays taken.
                    let waiting = std::mem::take(&mut self.waiting);
                    waiting.iter().for_each(|(later, _)| self.take(later));
                    self.waiting = waiting;
                    Outcome::Done
                }
                Err(error) => Outcome::Refused(error),
            },
        };
        Some((waiter, outcome))
    }

    /// Whether everything is written.
    pub fn is_idle(&self) -> bool {
        self.writing.is_none() && self.waiting.is_empty()
    }

    /// Does the part of a change that holds before it is written.
    fn take(&mut self, change: &Change) {
        let after = match change {
            Change::Grant { fingerprint, taken, .. } => {
                self.trust.granted(*fingerprint, Grants::NONE, *taken)
            }
            Change::Pair(_) | Change::Rename(..) => return,
            Change::Unpair(fingerprint) => self.trust.without(*fingerprint),
        };
        // A client that is not there has nothing.
        self.trust = after.unwrap_or_else(|_| std::mem::take(&mut self.trust));
    }

    /// Whether a client was paired again, and then unpaired before that was written.
    fn is_revoked(&self, change: &Change) -> bool {
        let Change::Pair(client) = change else {
            return false;
        };
        let unpair = Change::Unpair(client.certificate.fingerprint());
        self.waiting.iter().any(|(later, _)| *later == unpair)
    }

    fn after(&self, change: &Change) -> Result<Trust, Error> {
        match change {
            Change::Grant { fingerprint, given, taken } => {
                self.trust.granted(*fingerprint, *given, *taken)
            }
            Change::Pair(client) => {
                let mut client = client.clone();
                if let Some(known) = self.trust.client(&client.certificate) {
                    client.grants = known.grants;
                }
                self.trust.with(client)
            }
            Change::Rename(fingerprint, name) => self.trust.renamed(*fingerprint, name),
            // It is gone since that was asked for.
            Change::Unpair(fingerprint) => {
                Ok(self.trust.without(*fingerprint).unwrap_or_else(|_| self.trust.clone()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use punktfunk_core::proto::cert::Certificate;

    use super::*;

    const PEM: [&str; 2] = [
        include_str!("../../tests/vectors/certificates/rsa-2048.pem"),
        include_str!("../../tests/vectors/certificates/p-256.pem"),
    ];

    fn client(index: usize) -> Client {
        let certificate = Certificate::parse_pem(PEM[index].as_bytes()).unwrap();
        let grants = grants("view mouse");
        Client { certificate, name: "tv".into(), grants, paired_unix_s: 7 }
    }

    fn grants(names: &str) -> Grants {
        Grants::parse(names.split_whitespace()).unwrap()
    }

    /// A change of what the first client may do.
    fn grant(given: &str, taken: &str) -> Change {
        let fingerprint = client(0).certificate.fingerprint();
        Change::Grant { fingerprint, given: grants(given), taken: grants(taken) }
    }

    fn granted(ledger: &Ledger<u8>) -> String {
        ledger.trust().client(&client(0).certificate).unwrap().grants.to_string()
    }

    fn with_client() -> Ledger<u8> {
        Ledger::new(Trust::default().with(client(0)).unwrap())
    }

    #[test]
    fn a_client_is_trusted_only_once_the_file_is_written() {
        let mut ledger = Ledger::new(Trust::default());

        ledger.handle_change(Change::Pair(client(0)), 1).unwrap();
        let bytes = ledger.poll_write().unwrap().unwrap();
        assert_eq!(ledger.trust(), &Trust::default());
        let outcome = ledger.handle_written(Ok(()));

        assert_eq!(outcome, Some((1, Outcome::Done)));
        assert_eq!(ledger.trust(), &Trust::parse(&bytes, Grants::NONE).unwrap());
    }

    #[test]
    fn a_client_whose_file_is_not_written_is_not_trusted() {
        let mut ledger = Ledger::new(Trust::default());

        ledger.handle_change(Change::Pair(client(0)), 1).unwrap();
        ledger.poll_write().unwrap().unwrap();
        let outcome = ledger.handle_written(Err("disk full".into()));

        assert_eq!(outcome, Some((1, Outcome::NotWritten("disk full".into()))));
        assert_eq!(ledger.trust(), &Trust::default());
    }

    #[test]
    fn unpairing_holds_at_once_and_whatever_the_disk_says() {
        let mut ledger = with_client();
        let fingerprint = client(0).certificate.fingerprint();

        ledger.handle_change(Change::Unpair(fingerprint), 1).unwrap();
        assert_eq!(ledger.trust(), &Trust::default());
        ledger.poll_write().unwrap().unwrap();
        ledger.handle_written(Err("disk full".into()));

        assert_eq!(ledger.trust(), &Trust::default());
    }

    #[test]
    fn a_rename_on_its_way_does_not_bring_an_unpaired_client_back() {
        let mut ledger = with_client();
        let fingerprint = client(0).certificate.fingerprint();

        ledger.handle_change(Change::Rename(fingerprint, "couch".into()), 1).unwrap();
        ledger.poll_write().unwrap().unwrap();
        ledger.handle_change(Change::Unpair(fingerprint), 2).unwrap();
        assert_eq!(ledger.poll_write(), None);
        let renamed = ledger.handle_written(Ok(()));
        let last = ledger.poll_write().unwrap().unwrap();
        ledger.handle_written(Ok(()));

        assert_eq!(renamed, Some((1, Outcome::Refused(Error::Unknown))));
        assert_eq!(Trust::parse(&last, Grants::NONE), Ok(Trust::default()));
        assert!(ledger.is_idle());
    }

    #[test]
    fn a_pairing_on_its_way_does_not_bring_an_unpaired_client_back() {
        let mut ledger = with_client();
        let fingerprint = client(0).certificate.fingerprint();

        ledger.handle_change(Change::Pair(client(0)), 1).unwrap();
        ledger.poll_write().unwrap().unwrap();
        ledger.handle_change(Change::Unpair(fingerprint), 2).unwrap();
        let paired = ledger.handle_written(Ok(()));
        assert_eq!(ledger.trust(), &Trust::default());
        ledger.poll_write().unwrap().unwrap();
        ledger.handle_written(Err("disk full".into()));

        assert_eq!(paired, Some((1, Outcome::Refused(Error::Unknown))));
        assert_eq!(ledger.trust(), &Trust::default());
    }

    #[test]
    fn unpairing_holds_even_where_too_many_changes_wait() {
        let mut ledger = with_client();
        let fingerprint = client(0).certificate.fingerprint();
        for _ in 0..WAITING_COUNT_MAX {
            ledger.handle_change(Change::Rename(fingerprint, "x".into()), 0).unwrap();
        }

        let refused = ledger.handle_change(Change::Unpair(fingerprint), 1);

        assert_eq!(refused, Err(1));
        assert_eq!(ledger.trust(), &Trust::default());
    }

    #[test]
    fn names_of_new_clients_are_made_free_and_of_known_ones_kept() {
        let mut ledger = with_client();

        for (number, index) in [(1, 1), (2, 0)] {
            ledger.handle_change(Change::Pair(client(index)), number).unwrap();
            ledger.poll_write().unwrap().unwrap();
            ledger.handle_written(Ok(()));
        }

        let names: Vec<_> = ledger.trust().clients().iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["tv-2", "tv"]);
    }

    #[test]
    fn what_is_given_holds_once_it_is_written_and_what_is_taken_at_once() {
        for (written, expected) in [(Ok(()), "mouse pen"), (Err("disk full".into()), "mouse")] {
            let mut ledger = with_client();

            ledger.handle_change(grant("pen", "view"), 1).unwrap();
            let at_once = granted(&ledger);
            ledger.poll_write().unwrap().unwrap();
            ledger.handle_written(written);

            assert_eq!((at_once.as_str(), granted(&ledger).as_str()), ("mouse", expected));
        }
    }

    #[test]
    fn no_change_on_its_way_brings_back_what_was_taken_after_it() {
        let rename = Change::Rename(client(0).certificate.fingerprint(), "couch".into());
        for before in [grant("mouse pen", ""), Change::Pair(client(0)), rename] {
            let mut ledger = with_client();

            ledger.handle_change(before, 1).unwrap();
            ledger.poll_write().unwrap().unwrap();
            ledger.handle_change(grant("", "mouse pen"), 2).unwrap();
            let outcome = ledger.handle_written(Ok(()));
            assert_eq!((outcome, granted(&ledger).as_str()), (Some((1, Outcome::Done)), "view"));
            let last = ledger.poll_write().unwrap().unwrap();
            ledger.handle_written(Err("disk full".into()));

            assert_eq!(granted(&ledger), "view");
            let stored = Trust::parse(&last, Grants::NONE).unwrap();
            assert_eq!(stored.clients()[0].grants, grants("view"));
        }
    }

    #[test]
    fn a_client_that_pairs_again_keeps_its_grants() {
        let mut ledger = with_client();
        let again = Client { grants: grants("launch"), ..client(0) };

        ledger.handle_change(Change::Pair(again), 1).unwrap();
        ledger.poll_write().unwrap().unwrap();
        ledger.handle_written(Ok(()));

        assert_eq!(granted(&ledger), "view mouse");
    }

    #[test]
    fn changes_that_would_grow_without_end_are_refused() {
        let mut ledger = with_client();
        let fingerprint = client(0).certificate.fingerprint();

        let taken = (0..100)
            .filter(|_| ledger.handle_change(Change::Rename(fingerprint, "x".into()), 0).is_ok());

        assert_eq!(taken.count(), WAITING_COUNT_MAX);
    }
}
