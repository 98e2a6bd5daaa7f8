//! How keys are defined: the `table!` macro turns one list of fields into the struct that the
//! code reads, the reader that fills it from TOML, and the descriptions behind `everack config`
//! and the configuration reference. Knows no key by name; those are in `keys.rs`.

use toml::Spanned;
use toml::de::DeValue;

use super::fault::Fault;

/// A TOML value and where it stands in its text.
pub type Value<'a> = Spanned<DeValue<'a>>;

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// At SIGHUP.
    Live,
    /// At the next start.
    Restart,
}

/// Stands in the place of a default for a key that has none and must be given.
pub const REQUIRED: &str = "";

/// The description of one key.
#[derive(Debug)]
pub struct Key {
    /// Its name within its table.
    pub name: &'static str,
    /// Sentences for people, one element a line of the definition, each with its leading space.
    pub help: &'static [&'static str],
    /// The default as TOML text, or `REQUIRED`.
    pub default: &'static str,
    /// When a changed value takes effect. Meaningless for a table of further keys.
    pub change: Change,
    /// What may stand there, in words.
    pub type_name: fn() -> String,
    /// The keys inside, if this is a table or a list of tables.
    pub keys: &'static [Key],
    /// Whether it is a list of tables, `[[name]]`.
    pub is_list: bool,
}

/// A key whose value differs between the configuration in use and a newly read one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Dotted name.
    pub key: String,
    /// Whether it was taken over, or waits for a restart.
    pub change: Change,
}

/// Anything that may stand behind a key: a plain value, a table of keys, a list of tables.
pub trait Setting: Sized + Clone + PartialEq {
    /// The keys inside, if it has any.
    const KEYS: &'static [Key] = &[];
    /// Whether it is a list of tables.
    const IS_LIST: bool = false;

    /// What may stand there, in words, for the reference and for refusals.
    fn type_name() -> String;

    /// Reads the value found at `path`. All faults are returned, not only the first.
    fn parse(value: &Value<'_>, path: &str) -> Result<Self, Vec<Fault>>;

    /// The value as TOML text.
    fn show(&self) -> String;

    /// Replaces the value, or the one that `rest` (the remaining names of a dotted key) leads to.
    fn set(&mut self, rest: &[&str], value: &Value<'_>, path: &str) -> Result<(), Vec<Fault>> {
        match rest {
            [] => *self = Self::parse(value, path)?,
            [name, ..] => return Err(vec![Fault::unknown(path, name, None)]),
        }
        Ok(())
    }

    /// Takes over from `new` what may change while running, and lists every difference.
    fn adopt(&mut self, new: &Self, change: Change, path: &str, changed: &mut Vec<Changed>) {
        if self == new {
            return;
        }
        if change == Change::Live {
            *self = new.clone();
        }
        changed.push(Changed {
            key: path.to_owned(),
            change,
        });
    }
}

/// A plain value: everything that is not made of further keys.
pub trait Scalar: Sized + Clone + PartialEq {
    /// What may stand there, in words.
    fn type_name() -> String;
    /// Reads it; the error completes the sentence "this key ...".
    fn from_value(value: &DeValue<'_>) -> Result<Self, String>;
    /// The value as TOML text.
    fn show(&self) -> String;
}

impl<T: Scalar> Setting for T {
    fn type_name() -> String {
        T::type_name()
    }

    fn parse(value: &Value<'_>, path: &str) -> Result<Self, Vec<Fault>> {
        T::from_value(value.get_ref()).map_err(|message| vec![Fault::at(value, path, message)])
    }

    fn show(&self) -> String {
        Scalar::show(self)
    }
}

/// Marks a struct made by `table!`.
pub trait Table: Setting {}

impl<T: Table> Setting for Vec<T> {
    const KEYS: &'static [Key] = T::KEYS;
    const IS_LIST: bool = true;

    fn type_name() -> String {
        "list of tables".to_owned()
    }

    fn parse(value: &Value<'_>, path: &str) -> Result<Self, Vec<Fault>> {
        let DeValue::Array(elements) = value.get_ref() else {
            let message = format!("must be a list of tables: write [[{path}]] above each");
            return Err(vec![Fault::at(value, path, message)]);
        };
        let mut faults = Vec::new();
        let mut list = Vec::new();
        for element in elements {
            match T::parse(element, path) {
                Ok(entry) => list.push(entry),
                Err(found) => faults.extend(found),
            }
        }
        if faults.is_empty() { Ok(list) } else { Err(faults) }
    }

    fn show(&self) -> String {
        let entries: Vec<String> = self.iter().map(T::show).collect();
        format!("[{}]", entries.join(", "))
    }
}

/// Reads a default. The defaults are part of the program, and a test reads every one of them.
pub(super) fn default_of<T: Setting>(path: &str, text: &str) -> T {
    let parsed = DeValue::parse(text).map_err(|error| error.to_string());
    let parsed =
        parsed.and_then(|value| T::parse(&value, path).map_err(|faults| format!("{:?}", faults.first())));
    match parsed {
        Ok(value) => value,
        Err(error) => panic!("the default of {path} does not read: {error}"),
    }
}

/// A table with these keys, and its defaults for all others. The text is part of the program.
pub fn default_entry<T: Table>(path: &str, text: &str) -> T {
    default_of(path, text)
}

/// Whether a table of TOML holds that key.
pub(super) fn has(entries: &toml::de::DeTable<'_>, name: &str) -> bool {
    entries.iter().any(|(key, _)| key.get_ref() == name)
}

/// `path.name`, or only the name at the top.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Defines a table of keys: `/// help`, then `name: Type = "default as TOML", Live|Restart;`.
macro_rules! table {
    (
        $(#[doc = $about:literal])*
        $Name:ident {
            $( $(#[doc = $help:literal])* $field:ident: $type:ty = $default:expr, $change:ident; )*
        }
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $Name {
            $( $(#[doc = $help])* pub $field: $type, )*
        }

        impl $crate::config::table::Table for $Name {}

        impl $crate::config::table::Setting for $Name {
            const KEYS: &'static [$crate::config::table::Key] = &[
                $( $crate::config::table::Key {
                    name: stringify!($field),
                    help: &[$($help),*],
                    default: $default,
                    change: $crate::config::table::Change::$change,
                    type_name: <$type as $crate::config::table::Setting>::type_name,
                    keys: <$type as $crate::config::table::Setting>::KEYS,
                    is_list: <$type as $crate::config::table::Setting>::IS_LIST,
                }, )*
            ];

            fn type_name() -> String {
                "table".to_owned()
            }

            fn parse(
                value: &$crate::config::table::Value<'_>,
                path: &str,
            ) -> Result<Self, Vec<$crate::config::fault::Fault>> {
                use $crate::config::fault::Fault;
                use $crate::config::table::{self, Setting};
                let toml::de::DeValue::Table(entries) = value.get_ref() else {
                    let message = format!("must be a table, not {}", value.get_ref().type_str());
                    return Err(vec![Fault::at(value, path, message)]);
                };
                let mut faults: Vec<Fault> = Vec::new();
                $( let mut $field: Option<$type> = None; )*
                for (key, value) in entries.iter() {
                    let name: &str = key.get_ref();
                    $( if name == stringify!($field) {
                        match <$type as Setting>::parse(value, &table::join(path, name)) {
                            Ok(parsed) => $field = Some(parsed),
                            Err(found) => faults.extend(found),
                        }
                        continue;
                    } )*
                    faults.push(Fault::unknown(path, name, Some(key.span())));
                }
                $( if !table::has(entries, stringify!($field)) {
                    let path = table::join(path, stringify!($field));
                    if $default == table::REQUIRED {
                        faults.push(Fault::at(value, &path, "is required".to_owned()));
                    } else {
                        $field = Some(table::default_of(&path, $default));
                    }
                } )*
                match ($($field,)*) {
                    ($(Some($field),)*) if faults.is_empty() => Ok(Self { $($field,)* }),
                    _ => Err(faults),
                }
            }

            fn show(&self) -> String {
                let entries = [$( format!(
                    "{} = {}",
                    stringify!($field),
                    $crate::config::table::Setting::show(&self.$field)
                ), )*];
                format!("{{ {} }}", entries.join(", "))
            }

            fn set(
                &mut self,
                rest: &[&str],
                value: &$crate::config::table::Value<'_>,
                path: &str,
            ) -> Result<(), Vec<$crate::config::fault::Fault>> {
                use $crate::config::fault::Fault;
                use $crate::config::table;
                let [name, rest @ ..] = rest else {
                    let message = "is a table; name a key inside it".to_owned();
                    return Err(vec![Fault::at(value, path, message)]);
                };
                $( if *name == stringify!($field) {
                    return self.$field.set(rest, value, &table::join(path, name));
                } )*
                Err(vec![Fault::unknown(path, name, None)])
            }

            fn adopt(
                &mut self,
                new: &Self,
                _: $crate::config::table::Change,
                path: &str,
                changed: &mut Vec<$crate::config::table::Changed>,
            ) {
                use $crate::config::table::{self, Change, Setting};
                $( Setting::adopt(
                    &mut self.$field,
                    &new.$field,
                    Change::$change,
                    &table::join(path, stringify!($field)),
                    changed,
                ); )*
            }
        }
    };
}
pub(super) use table;
