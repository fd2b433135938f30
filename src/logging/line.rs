//! A line of the log before it is formatted: message and fields, without control characters.

use std::fmt::{self, Arguments, Write};

use inosync_actors::bytes::Bytes;
use inosync_actors::path::misleads;
use slog::{BorrowedKV, KV, Key, Level, Logger, OwnedKVList, Record, RecordLocation, RecordStatic, Serializer};

/// A message with its fields.
#[derive(Debug)]
pub struct LogLine {
    pub level: Level,
    pub message: String,
    /// In the order of the source, those of the logger first.
    pub fields: Vec<(Key, FieldValue)>,
}

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    Unsigned(u64),
    Signed(i64),
    Switch(bool),
    Text(String),
}

impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FieldValue::Unsigned(number) => number.fmt(f),
            FieldValue::Signed(number) => number.fmt(f),
            FieldValue::Switch(on) => on.fmt(f),
            FieldValue::Text(text) => text.fmt(f),
        }
    }
}

impl LogLine {
    /// The line of a record.
    pub fn of(record: &Record<'_>, values: &OwnedKVList) -> Result<LogLine, slog::Error> {
        let mut fields = Vec::new();
        for part in [values as &dyn KV, &record.kv()] {
            let mut said = Fields(Vec::new());
            part.serialize(record, &mut said)?;
            // slog gives the last field first.
            fields.extend(said.0.into_iter().rev());
        }
        Ok(LogLine { level: record.level(), message: printable(record.msg().to_string()), fields })
    }

    /// The line with units; for programs bytes and times stay numbers.
    pub fn for_people(self) -> LogLine {
        let with_unit = |(key, value): (Key, FieldValue)| match (value, key.strip_suffix("_ms")) {
            (FieldValue::Unsigned(bytes), _) if key == "bytes" => (key, FieldValue::Text(Bytes(bytes).to_string())),
            (FieldValue::Unsigned(time), Some(key)) => (key, FieldValue::Text(format!("{time} ms"))),
            (value, _) => (key, value),
        };
        LogLine { fields: self.fields.into_iter().map(with_unit).collect(), ..self }
    }

    /// Writes the line to a logger that formats it.
    pub fn write(&self, to: &Logger) {
        let location = RecordLocation { file: file!(), line: line!(), column: 0, function: "", module: module_path!() };
        let record = RecordStatic { location: &location, tag: "", level: self.level };
        to.log(&Record::new(&record, &format_args!("{}", self.message), BorrowedKV(self)));
    }
}

/// The fields in their order.
impl KV for LogLine {
    fn serialize(&self, _: &Record<'_>, to: &mut dyn Serializer) -> slog::Result {
        self.fields.iter().try_for_each(|(key, value)| match value {
            FieldValue::Unsigned(number) => to.emit_u64(key, *number),
            FieldValue::Signed(number) => to.emit_i64(key, *number),
            FieldValue::Switch(on) => to.emit_bool(key, *on),
            FieldValue::Text(text) => to.emit_str(key, text),
        })
    }
}

/// Collects the fields of a record.
struct Fields(Vec<(Key, FieldValue)>);

/// The methods that take a number.
macro_rules! numbers {
    ($($name:ident: $from:ty => $variant:ident $to:ty),*) => {
        $(fn $name(&mut self, key: Key, value: $from) -> slog::Result {
            self.0.push((key, <$to>::try_from(value).map_or_else(|_| FieldValue::Text(value.to_string()), FieldValue::$variant)));
            Ok(())
        })*
    };
}

impl Serializer for Fields {
    numbers! {
        emit_u8: u8 => Unsigned u64, emit_u16: u16 => Unsigned u64, emit_u32: u32 => Unsigned u64,
        emit_u64: u64 => Unsigned u64, emit_usize: usize => Unsigned u64, emit_u128: u128 => Unsigned u64,
        emit_i8: i8 => Signed i64, emit_i16: i16 => Signed i64, emit_i32: i32 => Signed i64,
        emit_i64: i64 => Signed i64, emit_isize: isize => Signed i64, emit_i128: i128 => Signed i64
    }

    fn emit_bool(&mut self, key: Key, value: bool) -> slog::Result {
        self.0.push((key, FieldValue::Switch(value)));
        Ok(())
    }

    fn emit_arguments(&mut self, key: Key, value: &Arguments<'_>) -> slog::Result {
        self.0.push((key, FieldValue::Text(printable(value.to_string()))));
        Ok(())
    }
}

/// Escapes control characters. Names are escaped by their authors; the words of other programs must not start a line of
/// their own or control the terminal either.
fn printable(text: String) -> String {
    if !text.contains(misleads) {
        return text;
    }
    text.chars().fold(String::new(), |mut shown, c| {
        match misleads(c) {
            true => c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| {
                // A String takes everything.
                let _ = write!(shown, "\\x{byte:02x}");
            }),
            false => shown.push(c),
        }
        shown
    })
}
