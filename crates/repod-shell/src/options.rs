//! Looking through arguments as programs do.

use crate::word::Word;

/// The arguments as text; one that isn't known is shown as an odd sign no program knows.
pub(crate) fn words(args: &[Word]) -> Vec<&str> {
    args.iter().map(|word| word.fixed().unwrap_or("\u{fffd}")).collect()
}

/// How a program reads its options.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spec {
    /// Short options that take a value.
    pub(crate) valued: &'static str,
    /// Long options whose value is the next argument, with their dashes.
    pub(crate) long_valued: &'static [&'static str],
    /// Short options whose value, if there is one, is glued to them: `-i.bak`.
    pub(crate) glued: &'static str,
}

/// What was found: options with their values, and the rest.
#[derive(Debug, Default)]
pub(crate) struct Parsed<'w> {
    /// `("-o", Some(value))`, `("--output", None)`; short ones one by one.
    pub(crate) options: Vec<(String, Option<Word>)>,
    pub(crate) operands: Vec<&'w Word>,
    /// A word that may be an option nobody sees.
    pub(crate) hidden: bool,
}

impl Parsed<'_> {
    pub(crate) fn has(&self, names: &[&str]) -> bool {
        self.options.iter().any(|(name, _)| names.contains(&name.as_str()))
    }

    /// The values of an option, under any of its names.
    pub(crate) fn values(&self, names: &[&str]) -> Vec<&Word> {
        let named = self.options.iter().filter(|(name, _)| names.contains(&name.as_str()));
        named.filter_map(|(_, value)| value.as_ref()).collect()
    }
}

/// Reads `args` as GNU programs do: options anywhere, until `--`.
pub(crate) fn parse<'w>(args: &'w [Word], spec: Spec) -> Parsed<'w> {
    let mut parsed = Parsed::default();
    let mut rest = args.iter();
    while let Some(word) = rest.next() {
        let Some(text) = word.fixed() else {
            if let Some((name, _)) =
                word.prefix().split_once('=').filter(|(n, _)| n.starts_with("--"))
            {
                // `--name=$value`: the name at least is known.
                parsed.options.push((name.to_owned(), Some(unknown())));
            } else {
                parsed.hidden |= word.maybe_option();
                parsed.operands.push(word);
            }
            continue;
        };
        if text == "--" {
            parsed.operands.extend(rest);
            break;
        }
        if let Some(long) = text.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(Word::Fixed(value.to_owned()))),
                None => (long, None),
            };
            let name = format!("--{name}");
            let takes = value.is_none() && spec.long_valued.contains(&name.as_str());
            let value = if takes { rest.next().cloned() } else { value };
            parsed.options.push((name, value));
        } else if text.len() > 1 && text.starts_with('-') {
            let mut letters = text.chars().skip(1);
            while let Some(letter) = letters.next() {
                let mut value = None;
                if spec.glued.contains(letter) {
                    value = Some(Word::Fixed(letters.by_ref().collect()));
                } else if spec.valued.contains(letter) {
                    let glued: String = letters.by_ref().collect();
                    value = if glued.is_empty() {
                        rest.next().cloned()
                    } else {
                        Some(Word::Fixed(glued))
                    };
                }
                parsed.options.push((format!("-{letter}"), value));
            }
        } else {
            parsed.operands.push(word);
        }
    }
    parsed
}

fn unknown() -> Word {
    Word::Open { prefix: String::new(), option: false, anywhere: true }
}
