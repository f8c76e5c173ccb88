//! What all pages have in common: their head, style and script (`html/base.html`), and how they show charts.
//!
//! A page is one file. It loads nothing and sends nothing: its policy allows no address, and of scripts only our own, by
//! its hash. Without it everything can be read; with it, values are shown under the pointer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::chart::{Chart, dark_css};

/// Shows values under the pointer.
const SCRIPT: &str = include_str!("html/hover.js");

/// For `html/base.html`.
pub(crate) struct Look<'a> {
    /// The voxload that measured.
    pub(crate) version: &'a str,
    pub(crate) dark_css: String,
    pub(crate) script: &'static str,
    pub(crate) script_hash: String,
}

impl<'a> Look<'a> {
    /// Of a document made by this version.
    pub(crate) fn new(version: &'a str) -> Self {
        Self {
            version,
            dark_css: dark_css("figure"),
            script: SCRIPT,
            script_hash: format!("sha256-{}", STANDARD.encode(Sha256::digest(SCRIPT))),
        }
    }
}

/// A chart on a page, for `html/figure.html`.
pub(crate) struct Figure<'a> {
    pub(crate) caption: &'a str,
    pub(crate) svg: String,
}

impl<'a> Figure<'a> {
    pub(crate) fn of(chart: &'a Chart) -> Self {
        Self { caption: &chart.caption, svg: chart.inlined() }
    }

    pub(crate) fn all(charts: &'a [Chart]) -> Vec<Self> {
        charts.iter().map(Self::of).collect()
    }
}
