//! Protocol buffers as text (`.prototxt`), in the subset that accompanies `.caffemodel`s: fields of names, numbers, texts and
//! messages, in any order.

/// The longest text that is read, in bytes.
pub(super) const MAX_TEXT: usize = 4 << 20;

/// The maximum nesting of messages.
const MAX_DEPTH: usize = 32;

/// A message: its fields in order.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Fields(Vec<(String, Value)>);

#[derive(Debug, PartialEq)]
enum Value {
    /// A number, a name or a text.
    Scalar(String),
    Message(Fields),
}

impl Fields {
    /// The values of the scalar fields of a name.
    pub fn scalars<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.named(name).filter_map(|value| match value {
            Value::Scalar(text) => Some(text.as_str()),
            Value::Message(_) => None,
        })
    }

    /// The numbers in the fields of a name; other values are ignored.
    pub fn numbers<'a, T: std::str::FromStr + 'a>(&'a self, name: &'a str) -> impl Iterator<Item = T> + 'a {
        self.scalars(name).filter_map(|text| text.parse().ok())
    }

    /// The messages in the fields of a name.
    pub fn messages<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.named(name).filter_map(|value| match value {
            Value::Message(fields) => Some(fields),
            Value::Scalar(_) => None,
        })
    }

    fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(move |(field, _)| field == name).map(|(_, value)| value)
    }
}

/// Reads a message. Errors give the expected and the actual text.
pub(super) fn parse(text: &str) -> Result<Fields, String> {
    if text.len() > MAX_TEXT {
        return Err(format!("at most {MAX_TEXT} bytes of text, found {}", text.len()));
    }
    let mut tokens = Tokens { rest: text, line: 1 };
    // The open messages, the innermost last, each with the name of its field.
    let mut open: Vec<(String, Fields)> = Vec::new();
    let mut fields = Fields::default();
    while let Some(token) = tokens.next()? {
        let name = match token {
            Token::Name(name) => name,
            Token::Sign('}' | '>') => {
                let (name, mut outer) =
                    open.pop().ok_or_else(|| tokens.expected("a field", "a brace that closes nothing"))?;
                outer.0.push((name, Value::Message(fields)));
                fields = outer;
                continue;
            }
            Token::Sign(',' | ';') => continue,
            other => return Err(tokens.expected("a field", &other.describe())),
        };
        let mut value = tokens.next()?;
        if matches!(value, Some(Token::Sign(':'))) {
            value = tokens.next()?;
        }
        match value {
            Some(Token::Sign('{' | '<')) => {
                if open.len() == MAX_DEPTH {
                    return Err(tokens.expected(&format!("at most {MAX_DEPTH} messages in messages"), "more"));
                }
                open.push((name, std::mem::take(&mut fields)));
            }
            Some(Token::Name(text) | Token::Text(text)) => fields.0.push((name, Value::Scalar(text))),
            // A list of numbers or texts.
            Some(Token::Sign('[')) => loop {
                match tokens.next()? {
                    Some(Token::Name(text) | Token::Text(text)) => fields.0.push((name.clone(), Value::Scalar(text))),
                    Some(Token::Sign(',')) => {}
                    Some(Token::Sign(']')) => break,
                    other => return Err(tokens.expected("a list's end", &describe(other.as_ref()))),
                }
            },
            other => return Err(tokens.expected(&format!("what `{name:.40}` is"), &describe(other.as_ref()))),
        }
    }
    if open.is_empty() { Ok(fields) } else { Err("the braces that close every message, found the end".into()) }
}

enum Token {
    /// A word of letters, digits and the signs of numbers.
    Name(String),
    /// The text between quotes.
    Text(String),
    Sign(char),
}

impl Token {
    fn describe(&self) -> String {
        match self {
            Self::Name(text) | Self::Text(text) => format!("`{text:.40}`"),
            Self::Sign(sign) => format!("`{sign}`"),
        }
    }
}

fn describe(token: Option<&Token>) -> String {
    token.map_or_else(|| "the end".into(), Token::describe)
}

struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl Tokens<'_> {
    fn expected(&self, what: &str, found: &str) -> String {
        format!("{what} in line {}, found {found}", self.line)
    }

    fn take(&mut self, bytes: usize) -> &str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn next(&mut self) -> Result<Option<Token>, String> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.take(blank);
            if !self.rest.starts_with('#') {
                break;
            }
            self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
        }
        let Some(first) = self.rest.chars().next() else { return Ok(None) };
        if first == '"' || first == '\'' {
            let inside = &self.rest[1..];
            let mut escaped = false;
            let end = inside.find(|c: char| {
                let ends = c == first && !escaped;
                escaped = c == '\\' && !escaped;
                ends
            });
            let end = end.ok_or_else(|| self.expected("a quote that closes", "the end"))?;
            let text = inside[..end].to_string();
            self.take(end + 2);
            return Ok(Some(Token::Text(text)));
        }
        let of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '+' | '.' | '/');
        let length = self.rest.find(|c| !of_name(c)).unwrap_or(self.rest.len());
        if length > 0 {
            return Ok(Some(Token::Name(self.take(length).to_string())));
        }
        self.take(first.len_utf8());
        Ok(Some(Token::Sign(first)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_of_all_kinds() {
        let text = r#"name: "Le\"Net" # a comment with a } in it
            input_dim: 1 input_dim: 3
            layer { name: 'data' type: "Input", input_param: { shape < dim: [10, 3, 227, 227] > } }
            layer{transform_param{scale:0.00390625 mean_value:-1e2;mirror:false}}"#;
        let fields = parse(text).unwrap();
        assert_eq!(fields.scalars("name").collect::<Vec<_>>(), [r#"Le\"Net"#]);
        assert_eq!(fields.numbers::<i64>("input_dim").collect::<Vec<_>>(), [1, 3]);
        let layers: Vec<&Fields> = fields.messages("layer").collect();
        let shape = layers[0].messages("input_param").next().unwrap().messages("shape").next().unwrap();
        assert_eq!(shape.numbers::<i64>("dim").collect::<Vec<_>>(), [10, 3, 227, 227]);
        let transform = layers[1].messages("transform_param").next().unwrap();
        assert_eq!(transform.numbers::<f32>("scale").next(), Some(0.00390625));
        assert_eq!(transform.numbers::<f32>("mean_value").next(), Some(-100.0));
        assert_eq!(parse(""), Ok(Fields::default()));
    }

    #[test]
    fn what_is_no_such_text_is_said() {
        for (text, expected) in [
            ("layer {", "close every message"),
            ("layer }", "what `layer` is in line 1, found `}`"),
            ("}", "a brace that closes nothing"),
            ("\n\nname: \"x", "a quote that closes in line 3"),
            ("dim: [1, {", "a list's end"),
            (": 3", "a field in line 1, found `:`"),
            (&"a{".repeat(100), "at most 32 messages"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
