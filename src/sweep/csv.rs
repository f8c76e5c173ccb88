//! `sweep.csv`: one row per cell, numbers in the units that their columns name.

use super::document::{CellCapacity, Sweep};

/// The table. The error is for the user.
pub(super) fn render(s: &Sweep) -> Result<String, String> {
    let mut out = csv::Writer::from_writer(Vec::new());
    let wrong = |e: &dyn std::fmt::Display| format!("cannot be written: {e}");
    let names = [
        "valid_runs",
        "turns",
        "failed",
        "ttfa_mean_us",
        "ttfa_p50_us",
        "ttfa_p95_us",
        "change_median_us",
        "change_least_us",
        "change_most_us",
        "change_pairs",
        "up_kbps",
        "up_bytes_per_s",
        "up_messages_per_s",
        "down_kbps",
        "down_bytes_per_s",
        "down_messages_per_s",
        "packetisation_mean_us",
        "packetisation_worst_us",
        "stalled_share",
        "segmental_snr_db",
        "spectral_distance_db",
        "encode_us_per_s",
        "decode_us_per_s",
        "mb_per_hour",
        "lost_per_cut_us",
        "server_cpu_per_device",
        "harness_cpu_us_per_message",
        "harness_cpu_share",
        "failed_thresholds",
        "capacity",
        "capacity_low",
        "capacity_high",
        "capacity_at_least",
        "on_front",
        "recommended",
    ];
    let axes = s.axes.iter().map(|a| a.key.as_str());
    out.write_record(std::iter::once("cell").chain(axes).chain(names)).map_err(|e| wrong(&e))?;
    for cell in &s.cells {
        let m = cell.measured.as_ref();
        let change = m.and_then(|m| m.change);
        let q = cell.speech.quality;
        let load = |of: fn(&CellCapacity) -> Option<f64>| {
            cell.capacity.as_ref().and_then(of).map(|load| format!("{load:.2}"))
        };
        let valid = cell.runs.iter().filter(|r| r.state == "valid").count();
        let numbers = [
            Some(valid.to_string()),
            m.map(|m| m.turns.to_string()),
            m.map(|m| m.failed.to_string()),
            m.and_then(|m| m.ttfa_mean_us).map(|x| format!("{x:.0}")),
            m.and_then(|m| m.ttfa_p50_us).map(|n| n.to_string()),
            m.and_then(|m| m.ttfa_p95_us).map(|n| n.to_string()),
            change.map(|c| c.median_us.to_string()),
            change.map(|c| c.least_us.to_string()),
            change.map(|c| c.most_us.to_string()),
            change.map(|c| c.pairs.to_string()),
            m.map(|m| format!("{:.2}", m.up.kbps)),
            m.map(|m| format!("{:.0}", m.up.bytes_per_s)),
            m.map(|m| format!("{:.2}", m.up.messages_per_s)),
            m.map(|m| format!("{:.2}", m.down.kbps)),
            m.map(|m| format!("{:.0}", m.down.bytes_per_s)),
            m.map(|m| format!("{:.2}", m.down.messages_per_s)),
            Some(format!("{:.0}", cell.speech.packetisation_mean_us)),
            Some(cell.speech.packetisation_worst_us.to_string()),
            m.and_then(|m| m.stalled_share).map(|x| format!("{x:.5}")),
            q.map(|q| format!("{:.2}", q.segmental_snr_db)),
            q.map(|q| format!("{:.2}", q.spectral_distance_db)),
            cell.speech.encode_us_per_s.map(|x| format!("{x:.0}")),
            cell.speech.decode_us_per_s.map(|x| format!("{x:.0}")),
            m.map(|m| format!("{:.2}", m.mb_per_hour)),
            Some(cell.speech.lost_per_cut_us.to_string()),
            m.and_then(|m| m.server_cpu_per_device).map(|x| format!("{x:.5}")),
            m.map(|m| format!("{:.2}", m.harness_cpu_us_per_message)),
            m.map(|m| format!("{:.4}", m.harness_cpu_share)),
            m.map(|m| m.failed_thresholds.to_string()),
            load(|c| c.load),
            load(|c| c.low),
            load(|c| c.high),
            load(|c| c.at_least),
            Some(s.front.contains(&cell.number).to_string()),
            Some(s.recommendation.is_some_and(|r| r.cell == cell.number).to_string()),
        ];
        let row = std::iter::once(cell.number.to_string())
            .chain(cell.values.iter().cloned())
            .chain(numbers.into_iter().map(Option::unwrap_or_default));
        out.write_record(row).map_err(|e| wrong(&e))?;
    }
    let bytes = out.into_inner().map_err(|e| wrong(&e))?;
    String::from_utf8(bytes).map_err(|e| wrong(&e))
}

#[cfg(test)]
mod tests {
    use crate::sweep::sample;

    #[test]
    fn every_cell_has_a_row_of_the_same_length() {
        insta::assert_snapshot!(super::render(&sample::judged()).unwrap());
    }
}
