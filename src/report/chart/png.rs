//! Charts as PNG: the very same drawing, painted by resvg with a font of our own, so that it looks the same on every
//! machine, with or without fonts.

use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{Options, Tree};

/// DejaVu Sans Condensed, cut down to Latin, Greek, Cyrillic and signs: as wide as what browsers use. Its licence is
/// beside it.
static FONT: &[u8] = include_bytes!("font/DejaVuSansCondensed-subset.ttf");

/// Pixels for each unit of the drawing: sharp on slides.
const SCALE: f32 = 2.0;

/// The font, read once.
fn fonts() -> Arc<Database> {
    static FONTS: OnceLock<Arc<Database>> = OnceLock::new();
    let read = || {
        let mut fonts = Database::new();
        fonts.load_font_data(FONT.to_vec());
        let family = fonts.faces().find_map(|f| f.families.first().map(|(name, _)| name.clone()));
        fonts.set_sans_serif_family(family.unwrap_or_default());
        Arc::new(fonts)
    };
    Arc::clone(FONTS.get_or_init(read))
}

/// Paints a drawing.
pub(super) fn render(svg: &str) -> Result<Vec<u8>, String> {
    let options = Options { fontdb: fonts(), ..Options::default() };
    let tree = Tree::from_str(svg, &options).map_err(|e| e.to_string())?;
    let size = tree.size().to_int_size().scale_by(SCALE).ok_or("it has no size")?;
    let mut picture = Pixmap::new(size.width(), size.height()).ok_or("it has no size")?;
    resvg::render(&tree, Transform::from_scale(SCALE, SCALE), &mut picture.as_mut());
    picture.encode_png().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::{BLUE, HPos, svg, write};
    use super::*;

    fn dark_pixels(text: &str) -> usize {
        let svg = svg(100, "", |area| write(area, text, (10, 10), 30, BLUE, HPos::Left)).unwrap();
        let picture = Pixmap::decode_png(&render(&svg).unwrap()).unwrap();
        assert_eq!((picture.width(), picture.height()), (1_920, 200));
        picture.pixels().iter().filter(|p| p.red() < 128).count()
    }

    #[test]
    fn text_is_painted_without_fonts_of_the_system() {
        assert_eq!(dark_pixels(""), 0, "an empty drawing is white");
        assert!(dark_pixels("TTFA p95 ≤ 300 ms") > 500);
        // Signs that charts use, each of a shape of its own.
        let signs = ["→", "←", "≥", "∞", "µ", "×", "–", "★", "−", "…", "é", "ł", "Ж"];
        let tofu = dark_pixels("\u{e000}");
        for sign in signs {
            let painted = dark_pixels(sign);
            assert!(painted > 20 && painted != tofu, "{sign}: {painted}");
        }
    }

    #[test]
    fn what_is_no_drawing_is_an_error() {
        assert!(render("no drawing").is_err());
    }
}
