//! XML as GameStream hosts answer it: one `root`, no whitespace between elements.
//!
//! Clients read the attributes of `root` in the order they come in, and some stumble over white
//! space. Names of elements and attributes are ours; values may be anything.

#![forbid(unsafe_code)]

/// A document under construction.
#[derive(Debug)]
pub struct Document {
    text: String,
    /// Elements opened and not closed, the outermost first; `root` is not among them.
    open: Vec<&'static str>,
    is_empty: bool,
}

impl Document {
    /// A document whose root has these attributes, in this order.
    pub fn new(attributes: &[(&'static str, &str)]) -> Document {
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><root");
        for (name, value) in attributes {
            text.push(' ');
            text.push_str(name);
            text.push_str("=\"");
            escape(value, &mut text);
            text.push('"');
        }
        Document { text, open: Vec::new(), is_empty: true }
    }

    /// Begins an element with elements in it.
    pub fn open(&mut self, name: &'static str) {
        self.tag(&["<", name, ">"]);
        self.open.push(name);
    }

    /// Ends the element opened last.
    pub fn close(&mut self) {
        let name = self.open.pop().expect("an element was opened");
        self.tag(&["</", name, ">"]);
    }

    /// Adds an element with text in it.
    pub fn text(&mut self, name: &'static str, value: &str) {
        self.tag(&["<", name, ">"]);
        escape(value, &mut self.text);
        self.tag(&["</", name, ">"]);
    }

    /// The whole document.
    pub fn finish(mut self) -> String {
        assert!(self.open.is_empty(), "every element is closed");
        self.text.push_str(if self.is_empty { "/>" } else { "</root>" });
        self.text
    }

    fn tag(&mut self, parts: &[&str]) {
        if self.is_empty {
            self.text.push('>');
            self.is_empty = false;
        }
        self.text.extend(parts.iter().copied());
    }
}

/// Appends a value. What XML 1.0 (section 2.2) has no way to say, and the rest of the control
/// characters, become U+FFFD.
fn escape(value: &str, text: &mut String) {
    for character in value.chars() {
        match character {
            '&' => text.push_str("&amp;"),
            '<' => text.push_str("&lt;"),
            '>' => text.push_str("&gt;"),
            '"' => text.push_str("&quot;"),
            '\'' => text.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => text.push('\u{fffd}'),
            character if character.is_control() => text.push('\u{fffd}'),
            character => text.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"utf-8\"?>";

    #[test]
    fn elements_and_attributes_stand_in_the_order_they_were_given() {
        let mut document = Document::new(&[("status_code", "200"), ("status_message", "")]);

        document.text("a", "1");
        document.open("b");
        document.text("c", "");
        document.close();

        let body = "<root status_code=\"200\" status_message=\"\"><a>1</a><b><c></c></b></root>";
        assert_eq!(document.finish(), format!("{DECLARATION}{body}"));
    }

    #[test]
    fn a_root_without_elements_closes_itself() {
        let document = Document::new(&[("status_code", "404")]);

        assert_eq!(document.finish(), format!("{DECLARATION}<root status_code=\"404\"/>"));
    }

    #[test]
    fn a_value_cannot_leave_its_place() {
        let table = [
            ("a&b", "a&amp;b"),
            ("</root>", "&lt;/root&gt;"),
            ("\" x='y'", "&quot; x=&apos;y&apos;"),
            (
                "a\0b\n\r\t\u{1b}\u{7f}\u{85}",
                "a\u{fffd}b\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}",
            ),
            ("\u{fffe}\u{ffff}", "\u{fffd}\u{fffd}"),
            ("d\u{e9}j\u{e0} \u{1f3ae}", "d\u{e9}j\u{e0} \u{1f3ae}"),
        ];
        for (value, escaped) in table {
            let mut document = Document::new(&[("a", value)]);
            document.text("b", value);
            let body = format!("<root a=\"{escaped}\"><b>{escaped}</b></root>");
            assert_eq!(document.finish(), format!("{DECLARATION}{body}"), "{value:?}");
        }
    }
}
