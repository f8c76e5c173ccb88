//! What a run under way has come to so far, for its thresholds.

use std::borrow::Cow;

use super::outcome;
use crate::gate::{Counted, Evidence, no_group};
use crate::measure::{Distribution, Groups, Interval, Metric, Totals};
use crate::report::result::PlaybackResult;
use crate::time::Micros;

/// The sums so far. Turns under way are in none of them.
pub struct SoFar<'a> {
    pub(super) totals: &'a Totals,
    pub(super) groups: &'a Groups,
}

impl SoFar<'_> {
    /// All turns, or those of a group; `None`: none has ended.
    fn of(&self, group: Option<&str>) -> Result<Option<&Interval>, String> {
        let Some(name) = group else { return Ok(Some(&self.totals.all)) };
        let names = self.groups.names();
        let index = names.iter().position(|n| n == name);
        let id = index.and_then(|i| u8::try_from(i).ok());
        let id = id.ok_or_else(|| no_group(name, names.iter().map(String::as_str)))?;
        Ok(self.totals.all.network.as_ref().and_then(|n| n.of_group(id)))
    }
}

impl Evidence for SoFar<'_> {
    fn distribution(&self, m: Metric, group: Option<&str>) -> Result<Option<Cow<'_, Distribution>>, String> {
        let found = self.of(group)?.map(|i| i.metric(m));
        Ok(found.filter(|d| d.count() > 0).map(Cow::Borrowed))
    }

    fn counted(&self, group: Option<&str>) -> Result<Counted, String> {
        let connections =
            if group.is_none() { outcome::connections(self.totals) } else { Default::default() };
        let counts = self.of(group)?.map(|i| i.counts).unwrap_or_default();
        Ok(Counted { turns: counts.turns().of_ended(), connections, barge_in: counts.barge_in() })
    }

    fn playback(&self, at: Micros) -> Result<PlaybackResult, String> {
        let found = outcome::playback(self.totals).into_iter().find(|p| p.prebuffer_us == at.0);
        found.ok_or_else(|| "no playback at that prebuffer".to_owned())
    }
}
