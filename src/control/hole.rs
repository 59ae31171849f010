//! What a stream of events says about positions that it cannot show.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::event::line::quote;
use crate::event::{GapReason, Seq};

/// Positions that cannot be shown, first and last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Hole {
    pub(super) from: Seq,
    pub(super) to: Seq,
    pub(super) reason: GapReason,
}

impl Hole {
    /// What is between the end of the log and a position past it.
    pub(super) fn ahead(head: Seq, since: Seq) -> Hole {
        Hole {
            from: Seq(head.0.saturating_add(1)),
            to: since,
            reason: GapReason::Ahead,
        }
    }

    /// How many positions.
    fn lost(self) -> u64 {
        self.to.0.saturating_sub(self.from.0).saturating_add(1)
    }

    fn detail(self) -> &'static str {
        match self.reason {
            GapReason::Retention => "these events are older than what the log keeps",
            GapReason::Ahead => {
                "the position lies past the end of this log: it is from another store; read the tree again and go on from `head`"
            }
            GapReason::Damaged | GapReason::Torn => {
                "the log is damaged here: `hippofs verify` says where"
            }
            GapReason::Crash
            | GapReason::Failed
            | GapReason::Overflow
            | GapReason::Unwatched
            | GapReason::Unrecorded => "these events were not recorded",
        }
    }

    /// The line that stands for the hole in a stream of events. It has no `seq`: it is no event of the log.
    pub(super) fn line(self) -> Vec<u8> {
        let mut out = String::new();
        let _ = write!(
            out,
            "{{\"event_type\":\"gap\",\"source\":\"system\",\"reason\":\"{}\",\"from\":{},\"to\":{},\"detail\":",
            self.reason.word(),
            self.from,
            self.to
        );
        quote(self.detail(), &mut out);
        out.push_str("}\n");
        out.into_bytes()
    }
}

/// All holes of one reply, as its last line says them.
pub(super) struct Holes {
    first: Hole,
    to: Seq,
    lost: u64,
}

impl Holes {
    /// The first hole of a reply.
    pub(super) fn new(hole: Hole) -> Holes {
        Holes {
            first: hole,
            to: hole.to,
            lost: hole.lost(),
        }
    }

    /// A further one.
    pub(super) fn add(&mut self, hole: Hole) {
        self.to = self.to.max(hole.to);
        self.lost = self.lost.saturating_add(hole.lost());
    }

    /// The value of `gap`: the reason of the first hole, the range of them all, and how much of it is lost.
    pub(super) fn json(&self) -> Value {
        json!({
            "reason": self.first.reason.word(),
            "from": self.first.from.0,
            "to": self.to.0,
            "lost": self.lost,
            "detail": self.first.detail(),
        })
    }
}
