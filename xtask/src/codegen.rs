//! Writes `crates/amqp/src/wire/method.rs` from `crates/amqp/protocol/amqp-0-9-1.toml`.
//!
//! Responsible for the translation only: what a method means is decided in the `amqp` crate, how the
//! description is laid out is explained at its head. With `check` nothing is written and a difference is an
//! error, so that CI can tell when someone edited one of the two files alone.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

const DESCRIPTION: &str = "crates/amqp/protocol/amqp-0-9-1.toml";
const GENERATED: &str = "crates/amqp/src/wire/method.rs";

/// Writes the generated file, or with `check` fails when it is not what the description asks for.
pub(crate) fn run(check: bool) -> Result<()> {
    let root = root();
    let description = std::fs::read_to_string(root.join(DESCRIPTION)).context(DESCRIPTION)?;
    let text = generate(&description)?;
    let path = root.join(GENERATED);
    let current = std::fs::read_to_string(&path).unwrap_or_default();
    if current == text {
        return Ok(());
    }
    ensure!(
        !check,
        "{GENERATED} does not follow from {DESCRIPTION}: run `cargo xtask codegen`"
    );
    std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
}

/// The text of `method.rs` for a description in TOML.
pub(crate) fn generate(description: &str) -> Result<String> {
    let classes = parse(description)?;
    let mut out = String::from(HEAD);
    method_enum(&mut out, &classes);
    method_impl(&mut out, &classes);
    conversions(&mut out, &classes);
    for class in &classes {
        class_module(&mut out, class);
    }
    Ok(out)
}

struct Class {
    name: String,
    id: u16,
    methods: Vec<Method>,
}

struct Method {
    name: String,
    id: u16,
    from: Sender,
    content: bool,
    does: String,
    fields: Vec<Field>,
}

#[derive(Clone, Copy)]
enum Sender {
    Client,
    Server,
    Both,
}

struct Field {
    /// `None` for a reserved field.
    name: Option<String>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Bit,
    Octet,
    Short,
    Long,
    LongLong,
    ShortStr,
    LongStr,
    Table,
}

fn root() -> PathBuf {
    // The manifest directory is either `xtask` or `crates/amqp` (whose test includes this file).
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors()
        .find(|path| path.join(DESCRIPTION).exists())
        .unwrap_or(here)
        .to_path_buf()
}

fn parse(description: &str) -> Result<Vec<Class>> {
    let table: toml::Table = description.parse().context(DESCRIPTION)?;
    let classes = table
        .get("class")
        .and_then(|value| value.as_array())
        .context("no [[class]]")?;
    classes.iter().map(parse_class).collect()
}

fn parse_class(value: &toml::Value) -> Result<Class> {
    let name = string(value, "name")?;
    let methods = value
        .get("method")
        .and_then(|value| value.as_array())
        .context("a class without methods")?;
    let methods = methods
        .iter()
        .map(|method| parse_method(method).with_context(|| format!("in class {name}")))
        .collect::<Result<Vec<_>>>()?;
    Ok(Class {
        id: number(value, "id")?,
        name,
        methods,
    })
}

fn parse_method(value: &toml::Value) -> Result<Method> {
    let name = string(value, "name")?;
    let from = match string(value, "from")?.as_str() {
        "client" => Sender::Client,
        "server" => Sender::Server,
        "both" => Sender::Both,
        other => bail!("method {name}: from = {other:?}"),
    };
    let fields = value
        .get("fields")
        .and_then(|value| value.as_array())
        .context("no fields")?;
    let fields = fields
        .iter()
        .map(|field| parse_field(field.as_str().unwrap_or_default()))
        .collect::<Result<Vec<_>>>()
        .with_context(|| format!("method {name}"))?;
    let content = value
        .get("content")
        .and_then(|value| value.as_bool())
        .unwrap_or(false);
    Ok(Method {
        id: number(value, "id")?,
        from,
        content,
        does: string(value, "does")?,
        fields,
        name,
    })
}

fn parse_field(text: &str) -> Result<Field> {
    let (name, kind) = text
        .split_once(": ")
        .with_context(|| format!("field {text:?} is not `name: type`"))?;
    let kind = match kind {
        "bit" => Kind::Bit,
        "octet" => Kind::Octet,
        "short" => Kind::Short,
        "long" => Kind::Long,
        "longlong" => Kind::LongLong,
        "shortstr" => Kind::ShortStr,
        "longstr" => Kind::LongStr,
        "table" => Kind::Table,
        other => bail!("field {name}: unknown type {other:?}"),
    };
    Ok(Field {
        name: (name != "-").then(|| name.to_string()),
        kind,
    })
}

fn string(value: &toml::Value, key: &str) -> Result<String> {
    let text = value.get(key).and_then(|value| value.as_str());
    Ok(text
        .with_context(|| format!("no string {key:?} in {value:?}"))?
        .to_string())
}

fn number(value: &toml::Value, key: &str) -> Result<u16> {
    let number = value.get(key).and_then(|value| value.as_integer());
    let number = number.with_context(|| format!("no number {key:?} in {value:?}"))?;
    u16::try_from(number).with_context(|| format!("{key} = {number}"))
}

const HEAD: &str = "\
//! GENERATED by `cargo xtask codegen` from `protocol/amqp-0-9-1.toml`; edit that file instead.
//!
//! One type a method, in a module a class, and [`Method`], which is any of them. Reserved fields are left out:
//! they are skipped when read and written as zero.

use super::primitive::{Malformed, Reader, ShortString, put_long_string, put_short_string};
use super::table::Table;

/// Why the bytes of a method frame could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MethodError {
    /// No class has this number.
    #[error(\"unknown class {0}\")]
    UnknownClass(u16),
    /// The class exists, the method does not.
    #[error(\"unknown method {1} of class {0}\")]
    UnknownMethod(u16, u16),
    /// The arguments are not what the method asks for.
    #[error(\"malformed arguments: {0}\")]
    Malformed(#[from] Malformed),
}

/// Who may send a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// Only clients.
    Client,
    /// Only the server.
    Server,
    /// Either side.
    Both,
}
";

fn method_enum(out: &mut String, classes: &[Class]) {
    out.push_str(
        "\n/// Any method of the protocol.\n#[derive(Debug, Clone, PartialEq)]\npub enum Method {\n",
    );
    each(classes, |class, method| {
        let (variant, path) = (variant(class, method), path(class, method));
        let _ = writeln!(
            out,
            "    /// `{}.{}`\n    {variant}({path}),",
            class.name, method.name
        );
    });
    out.push_str("}\n");
}

fn method_impl(out: &mut String, classes: &[Class]) {
    out.push_str("\nimpl Method {\n");
    decode_any(out, classes);
    match_each(
        out,
        classes,
        "Appends class, method and arguments: the payload of a method frame.",
        "encode(&self, out: &mut Vec<u8>)",
        "(method)",
        |_, _| "method.encode(out)".into(),
    );
    match_each(
        out,
        classes,
        "Class and method number.",
        "ids(&self) -> (u16, u16)",
        "(_)",
        |class, method| format!("({}, {})", class.id, method.id),
    );
    match_each(
        out,
        classes,
        "Name as in the specification, such as `basic.publish`.",
        "name(&self) -> &'static str",
        "(_)",
        |class, method| format!("\"{}.{}\"", class.name, method.name),
    );
    match_each(
        out,
        classes,
        "Who may send it.",
        "sender(&self) -> Sender",
        "(_)",
        |_, method| match method.from {
            Sender::Client => "Sender::Client".into(),
            Sender::Server => "Sender::Server".into(),
            Sender::Both => "Sender::Both".into(),
        },
    );
    let contents: Vec<String> = collect(classes, |class, method| {
        method
            .content
            .then(|| format!("Method::{}(_)", variant(class, method)))
    });
    let _ = writeln!(
        out,
        "    /// Whether a content header and body follow.\n    pub fn has_content(&self) -> bool {{\n        \
         matches!(self, {})\n    }}\n}}",
        contents.join(" | ")
    );
}

fn decode_any(out: &mut String, classes: &[Class]) {
    out.push_str(
        "    /// Reads the arguments of a method; bytes left over are an error, as in RabbitMQ.\n    \
         pub fn decode(class: u16, method: u16, arguments: &[u8]) -> Result<Method, MethodError> {\n        \
         let mut reader = Reader::new(arguments);\n        let decoded = match (class, method) {\n",
    );
    each(classes, |class, method| {
        let (variant, path) = (variant(class, method), path(class, method));
        let _ = writeln!(
            out,
            "            ({}, {}) => Method::{variant}({path}::decode(&mut reader)?),",
            class.id, method.id
        );
    });
    let ids: Vec<String> = classes.iter().map(|class| class.id.to_string()).collect();
    let _ = writeln!(
        out,
        "            ({}, _) => return Err(MethodError::UnknownMethod(class, method)),\n            \
         _ => return Err(MethodError::UnknownClass(class)),\n        }};\n        reader.end()?;\n        \
         Ok(decoded)\n    }}\n",
        ids.join(" | ")
    );
}

/// A function of `Method` with one arm a method.
fn match_each(
    out: &mut String,
    classes: &[Class],
    doc: &str,
    signature: &str,
    binding: &str,
    arm: impl Fn(&Class, &Method) -> String,
) {
    let _ = writeln!(
        out,
        "    /// {doc}\n    pub fn {signature} {{\n        match self {{"
    );
    each(classes, |class, method| {
        let _ = writeln!(
            out,
            "            Method::{}{binding} => {},",
            variant(class, method),
            arm(class, method)
        );
    });
    out.push_str("        }\n    }\n\n");
}

fn conversions(out: &mut String, classes: &[Class]) {
    each(classes, |class, method| {
        let (variant, path) = (variant(class, method), path(class, method));
        let _ = write!(
            out,
            "\nimpl From<{path}> for Method {{\n    fn from(method: {path}) -> Method {{\n        \
             Method::{variant}(method)\n    }}\n}}\n"
        );
    });
}

fn class_module(out: &mut String, class: &Class) {
    let _ = writeln!(
        out,
        "\n/// Methods of class `{}`.\npub mod {} {{\n    #[allow(unused_imports, reason = \"not every class needs \
         every type\")]\n    use super::{{Malformed, Reader, ShortString, Table, put_long_string, put_short_string}};",
        class.name, class.name
    );
    for method in &class.methods {
        method_type(out, class, method);
    }
    out.push_str("}\n");
}

fn method_type(out: &mut String, class: &Class, method: &Method) {
    let name = camel(&method.name);
    let default = if method.fields.is_empty() {
        ", Eq, Copy"
    } else {
        ""
    };
    let _ = writeln!(
        out,
        "\n    /// {}\n    #[derive(Debug, Clone, PartialEq, Default{default})]\n    pub struct {name} {{",
        method.does
    );
    for (field, kind) in named(method) {
        let _ = writeln!(
            out,
            "        /// `{field}`\n        pub {}: {},",
            snake(field),
            rust_type(kind)
        );
    }
    let _ = writeln!(
        out,
        "    }}\n\n    impl {name} {{\n        /// Class number on the wire.\n        pub const CLASS: u16 = {};\n        \
         /// Method number on the wire.\n        pub const METHOD: u16 = {};\n",
        class.id, method.id
    );
    decode_function(out, method);
    encode_function(out, class, method);
    out.push_str("    }\n");
}

fn decode_function(out: &mut String, method: &Method) {
    let reader = if method.fields.is_empty() {
        "_reader"
    } else {
        "reader"
    };
    let _ = writeln!(
        out,
        "        /// Reads the arguments.\n        pub fn decode({reader}: &mut Reader<'_>) -> Result<Self, Malformed> {{"
    );
    for group in groups(&method.fields) {
        if group[0].kind == Kind::Bit {
            decode_bits(out, group);
        } else {
            let read = reader_call(group[0].kind);
            match &group[0].name {
                Some(field) => drop(writeln!(
                    out,
                    "            let {} = reader.{read}?;",
                    snake(field)
                )),
                None => drop(writeln!(out, "            reader.{read}?;")),
            }
        }
    }
    let fields: Vec<String> = named(method).map(|(field, _)| snake(field)).collect();
    let _ = writeln!(
        out,
        "            Ok(Self {{ {} }})\n        }}\n",
        fields.join(", ")
    );
}

fn decode_bits(out: &mut String, bits: &[Field]) {
    if bits.iter().all(|bit| bit.name.is_none()) {
        out.push_str("            reader.octet()?;\n");
        return;
    }
    out.push_str("            let bits = reader.octet()?;\n");
    for (index, bit) in bits.iter().enumerate() {
        if let Some(field) = &bit.name {
            let _ = writeln!(
                out,
                "            let {} = bits & {} != 0;",
                snake(field),
                1 << index
            );
        }
    }
}

fn encode_function(out: &mut String, class: &Class, method: &Method) {
    let ids = [class.id.to_be_bytes(), method.id.to_be_bytes()].concat();
    let _ = writeln!(
        out,
        "        /// Appends class, method and arguments.\n        pub fn encode(&self, out: &mut Vec<u8>) {{\n            \
         out.extend_from_slice(&[{}, {}, {}, {}]);",
        ids[0], ids[1], ids[2], ids[3]
    );
    for group in groups(&method.fields) {
        if group[0].kind == Kind::Bit {
            encode_bits(out, group);
        } else {
            encode_field(out, &group[0]);
        }
    }
    out.push_str("        }\n");
}

fn encode_bits(out: &mut String, bits: &[Field]) {
    let terms: Vec<String> = bits
        .iter()
        .enumerate()
        .filter_map(|(index, bit)| Some((index, bit.name.as_ref()?)))
        .map(|(index, field)| match index {
            0 => format!("u8::from(self.{})", snake(field)),
            _ => format!("u8::from(self.{}) << {index}", snake(field)),
        })
        .collect();
    let value = if terms.is_empty() {
        "0".to_string()
    } else {
        terms.join(" | ")
    };
    let _ = writeln!(out, "            out.push({value});");
}

fn encode_field(out: &mut String, field: &Field) {
    let line = match (&field.name, field.kind) {
        (None, Kind::Octet | Kind::ShortStr) => "out.push(0)".to_string(),
        (None, Kind::Short) => "out.extend_from_slice(&[0; 2])".to_string(),
        (None, Kind::LongLong) => "out.extend_from_slice(&[0; 8])".to_string(),
        (None, _) => "out.extend_from_slice(&[0; 4])".to_string(),
        (Some(name), Kind::Octet) => format!("out.push(self.{})", snake(name)),
        (Some(name), Kind::ShortStr) => format!("put_short_string(out, &self.{})", snake(name)),
        (Some(name), Kind::LongStr) => format!("put_long_string(out, &self.{})", snake(name)),
        (Some(name), Kind::Table) => format!("self.{}.encode(out)", snake(name)),
        (Some(name), _) => format!("out.extend_from_slice(&self.{}.to_be_bytes())", snake(name)),
    };
    let _ = writeln!(out, "            {line};");
}

/// Neighbouring bits share octets, eight to one; every other field stands alone.
fn groups(fields: &[Field]) -> Vec<&[Field]> {
    fields
        .chunk_by(|left, right| left.kind == Kind::Bit && right.kind == Kind::Bit)
        .flat_map(|group| group.chunks(8))
        .collect()
}

fn reader_call(kind: Kind) -> &'static str {
    match kind {
        Kind::Bit => unreachable!("bits are read by the octet"),
        Kind::Octet => "octet()",
        Kind::Short => "short()",
        Kind::Long => "long()",
        Kind::LongLong => "long_long()",
        Kind::ShortStr => "short_string()",
        Kind::LongStr => "long_string()",
        Kind::Table => "table()",
    }
}

fn rust_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Bit => "bool",
        Kind::Octet => "u8",
        Kind::Short => "u16",
        Kind::Long => "u32",
        Kind::LongLong => "u64",
        Kind::ShortStr => "ShortString",
        Kind::LongStr => "Vec<u8>",
        Kind::Table => "Table",
    }
}

fn named(method: &Method) -> impl Iterator<Item = (&str, Kind)> {
    method
        .fields
        .iter()
        .filter_map(|field| Some((field.name.as_deref()?, field.kind)))
}

fn each(classes: &[Class], mut visit: impl FnMut(&Class, &Method)) {
    for class in classes {
        for method in &class.methods {
            visit(class, method);
        }
    }
}

fn collect<T>(classes: &[Class], visit: impl Fn(&Class, &Method) -> Option<T>) -> Vec<T> {
    let mut all = Vec::new();
    each(classes, |class, method| all.extend(visit(class, method)));
    all
}

fn variant(class: &Class, method: &Method) -> String {
    camel(&class.name) + &camel(&method.name)
}

fn path(class: &Class, method: &Method) -> String {
    format!("{}::{}", class.name, camel(&method.name))
}

fn camel(name: &str) -> String {
    name.split('-')
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect()
}

/// The field's name in Rust; `type` is the one keyword among them.
fn snake(name: &str) -> String {
    if name == "type" {
        "kind".to_string()
    } else {
        name.replace('-', "_")
    }
}
