//! Values per device, from a table in CSV.

use std::io;

use super::Secret;

/// What is expected of the table.
const EXPECTED: &str = "expected a header row with the names of the columns, then one row per device";

/// A table of values per device, from CSV: device n uses row n modulo the number of rows. `{device}` always exists.
#[derive(Clone, Debug, Default)]
pub struct DeviceValues {
    /// Column names, in the order of the row's values.
    pub columns: Vec<String>,
    /// One row per device.
    pub rows: Vec<Vec<Secret>>,
}

impl DeviceValues {
    /// Reads CSV with a header row. The error is what is wrong, and what to try; never a value.
    pub fn read(csv: impl io::Read) -> Result<Self, (String, &'static str)> {
        let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(csv);
        let fail = |e: &csv::Error| match e.kind() {
            csv::ErrorKind::UnequalLengths { pos, expected_len, len } => {
                let line = pos.as_ref().map_or(0, csv::Position::line);
                format!("line {line} has {len} values where the header has {expected_len}")
            }
            csv::ErrorKind::Utf8 { pos, .. } => {
                format!("line {} is not UTF-8", pos.as_ref().map_or(0, csv::Position::line))
            }
            _ => format!("cannot be read: {e}"),
        };
        let columns: Vec<String> =
            reader.headers().map_err(|e| (fail(&e), EXPECTED))?.iter().map(str::to_owned).collect();
        if columns.iter().any(String::is_empty) || columns.is_empty() {
            return Err(("a column has no name".to_owned(), EXPECTED));
        }
        if columns.iter().any(|c| c == "device") {
            return Err((
                "a column is named `device`".to_owned(),
                "`{device}` is the number of the device; choose another name",
            ));
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|e| (fail(&e), EXPECTED))?;
            rows.push(record.iter().map(Secret::new).collect());
        }
        if rows.is_empty() {
            return Err(("no row after the header".to_owned(), EXPECTED));
        }
        Ok(Self { columns, rows })
    }

    /// Fills the `{placeholders}` of a template in for a device. Values are no templates: what looks like a placeholder in
    /// them stays as it is.
    pub fn fill(&self, template: &str, device: u32) -> String {
        let row = self.rows.get(device as usize % self.rows.len().max(1));
        let value = |name: &str| {
            let column = self.columns.iter().position(|c| c == name)?;
            row?.get(column).map(Secret::reveal)
        };
        let number = device.to_string();
        let (mut text, mut rest) = (String::with_capacity(template.len()), template);
        while let Some(open) = rest.find('{') {
            let (before, from) = rest.split_at(open);
            text.push_str(before);
            let name = from.find('}').and_then(|close| from.get(1..close));
            match name.and_then(|n| if n == "device" { Some(&*number) } else { value(n) }).zip(name) {
                Some((value, name)) => {
                    text.push_str(value);
                    rest = from.get(name.len() + 2..).unwrap_or_default();
                }
                None => {
                    text.push('{');
                    rest = from.get(1..).unwrap_or_default();
                }
            }
        }
        text.push_str(rest);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_no_templates() {
        let values = DeviceValues::read(&b"a,b\n{b}{b},{device}{a}\n"[..]).unwrap();
        assert_eq!(values.fill("{a} {b} {device} {c} {{a}} {", 7), "{b}{b} {device}{a} 7 {c} {{b}{b}} {");
        assert_eq!(DeviceValues::default().fill("{a}{device}", 7), "{a}7");
    }

    #[test]
    fn what_is_wrong_with_a_table_is_said() {
        let wrong = |csv: &[u8]| DeviceValues::read(csv).unwrap_err().0;
        assert_eq!(wrong(b""), "a column has no name");
        assert_eq!(wrong(b"a,,b\n1,2,3\n"), "a column has no name");
        assert_eq!(wrong(b"a,device\n1,2\n"), "a column is named `device`");
        assert_eq!(wrong(b"a,b\n"), "no row after the header");
        assert_eq!(wrong(b"a,b\n1,2\n3\n"), "line 3 has 1 values where the header has 2");
        assert_eq!(wrong(b"a\n\xff\n"), "line 2 is not UTF-8");
    }
}
