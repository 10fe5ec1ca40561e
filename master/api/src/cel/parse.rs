//! Text to an expression.

use std::rc::Rc;

use super::functions::NAMESPACES;

/// Longest expression, in bytes.
const TEXT_MAX: usize = 64 << 10;
/// Deepest nesting.
const DEPTH_MAX: usize = 48;

/// An expression, and where in its text it begins.
#[derive(Debug, PartialEq)]
pub(crate) struct Expr {
    pub(crate) at: usize,
    pub(crate) kind: ExprKind,
}

/// What an expression is.
#[derive(Debug, PartialEq)]
pub(crate) enum ExprKind {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    Name(Box<str>),
    /// A field; whether it may be absent, and whether only that is asked.
    Select {
        of: Box<Expr>,
        field: Box<str>,
        how: How,
    },
    Index {
        of: Box<Expr>,
        at: Box<Expr>,
        optional: bool,
    },
    Call {
        of: Option<Box<Expr>>,
        name: Box<str>,
        args: Vec<Expr>,
    },
    List(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Not(Box<Expr>),
    Negative(Box<Expr>),
    Binary(Operator, Box<Expr>, Box<Expr>),
    Either {
        when: Box<Expr>,
        then: Box<Expr>,
        other: Box<Expr>,
    },
    /// A walk over all items or keys.
    Each(Box<Each>),
}

/// How a field is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Value,
    Optional,
    Presence,
}

/// A walk over all items or keys.
#[derive(Debug, PartialEq)]
pub(crate) struct Each {
    pub(crate) walk: Walk,
    pub(crate) of: Expr,
    /// One name for the item or key, or two for place or key and item or value.
    pub(crate) names: (Box<str>, Option<Box<str>>),
    /// What is asked of each, or made of each.
    pub(crate) body: Expr,
    /// What is made of each that was asked for.
    pub(crate) then: Option<Expr>,
}

/// What a walk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walk {
    All,
    Exists,
    ExistsOne,
    Filter,
    Map,
}

/// An operator between two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// Why a text is no expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("ERROR: <input>:{line}:{column}: Syntax error: {why}")]
pub(crate) struct SyntaxError {
    line: usize,
    column: usize,
    why: String,
}

/// Line and column of a place in a text, both from 1.
pub(crate) fn position(text: &str, at: usize) -> (usize, usize) {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// Reads an expression.
///
/// # Errors
/// The text is none.
pub(crate) fn parse(text: &str) -> Result<Expr, SyntaxError> {
    let fail = |(at, why): (usize, String)| {
        let (line, column) = position(text, at);
        SyntaxError { line, column, why }
    };
    if text.len() > TEXT_MAX {
        return Err(fail((0, format!("expression code point size exceeds limit: {TEXT_MAX}"))));
    }
    let tokens = tokens(text).map_err(fail)?;
    let mut parser = Parser { tokens: &tokens, next: 0, depth: 0, end: text.len() };
    let expr = parser.expr().map_err(fail)?;
    match parser.peek() {
        Token::End => Ok(expr),
        other => Err(fail((parser.at(), format!("extraneous input '{}'", shown(&other))))),
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Name(Rc<str>),
    Int(i64),
    /// A number that is an integer only with a minus before it.
    Least,
    UInt(u64),
    Double(f64),
    Text(Rc<str>),
    Bytes(Rc<[u8]>),
    Sign(&'static str),
    End,
}

fn shown(token: &Token) -> String {
    match token {
        Token::Name(name) => name.to_string(),
        Token::Int(number) => number.to_string(),
        Token::UInt(number) => format!("{number}u"),
        Token::Double(number) => number.to_string(),
        Token::Text(text) => format!("{text:?}"),
        Token::Bytes(_) => "b\"...\"".to_owned(),
        Token::Least => "9223372036854775808".to_owned(),
        Token::Sign(sign) => (*sign).to_owned(),
        Token::End => "<EOF>".to_owned(),
    }
}

const SIGNS: [&str; 24] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "(", ")", "[", "]", "{", "}", ".", ",", "-", "!",
    "?", ":", "+", "*", "/", "%",
];

type Failure = (usize, String);

fn tokens(text: &str) -> Result<Vec<(usize, Token)>, Failure> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        let letter = rest.chars().next().unwrap_or_default();
        if letter.is_whitespace() {
            at += letter.len_utf8();
            continue;
        }
        if rest.starts_with("//") {
            at += rest.find('\n').unwrap_or(rest.len());
            continue;
        }
        let (token, len) = match quoted(rest) {
            Some(result) => result.map_err(|why| (at, why))?,
            None if letter.is_ascii_digit() => number(rest).map_err(|why| (at, why))?,
            None if letter.is_ascii_alphabetic() || letter == '_' => {
                let part = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
                let len = rest.find(|letter| !part(letter)).unwrap_or(rest.len());
                (Token::Name(rest.get(..len).unwrap_or_default().into()), len)
            }
            None => {
                let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
                match sign {
                    Some(sign) => (Token::Sign(sign), sign.len()),
                    None => {
                        let why = format!("token recognition error at: '{letter}'");
                        return Err((at, why));
                    }
                }
            }
        };
        found.push((at, token));
        at += len;
    }
    Ok(found)
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    if let Some(digits) = hex {
        let len = digits.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(digits.len());
        let (digits, rest) = digits.split_at(len);
        let value = u64::from_str_radix(digits, 16).map_err(|_| "invalid number".to_owned())?;
        if rest.starts_with(['u', 'U']) {
            return Ok((Token::UInt(value), len + 3));
        }
        let value = i64::try_from(value).map_err(|_| "invalid int literal".to_owned())?;
        return Ok((Token::Int(value), len + 2));
    }
    let digits =
        |text: &str| text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let mut len = digits(text);
    let mut double = false;
    let after = |len: usize| text.get(len..).unwrap_or_default();
    if let Some(rest) = after(len).strip_prefix('.')
        && digits(rest) > 0
    {
        double = true;
        len += 1 + digits(rest);
    }
    if let Some(rest) = after(len).strip_prefix(['e', 'E']) {
        let signed = rest.strip_prefix(['+', '-']);
        let power = digits(signed.unwrap_or(rest));
        if power > 0 {
            double = true;
            len += 1 + usize::from(signed.is_some()) + power;
        }
    }
    let literal = text.get(..len).unwrap_or_default();
    if double {
        let value = literal.parse().map_err(|_| "invalid double literal".to_owned())?;
        return Ok((Token::Double(value), len));
    }
    if after(len).starts_with(['u', 'U']) {
        let value = literal.parse().map_err(|_| "invalid uint literal".to_owned())?;
        return Ok((Token::UInt(value), len + 1));
    }
    match literal.parse::<u64>() {
        Ok(value) if value == i64::MAX.unsigned_abs() + 1 => Ok((Token::Least, len)),
        Ok(value) => match i64::try_from(value) {
            Ok(value) => Ok((Token::Int(value), len)),
            Err(_) => Err("invalid int literal".to_owned()),
        },
        Err(_) => Err("invalid int literal".to_owned()),
    }
}

/// A text or bytes in quotes at the start, with its length; none if there is none.
fn quoted(text: &str) -> Option<Result<(Token, usize), String>> {
    let prefix = text.find(['"', '\'']).filter(|len| *len <= 2)?;
    let (head, rest) = text.split_at(prefix);
    let (mut raw, mut bytes) = (false, false);
    for letter in head.chars() {
        match letter {
            'r' | 'R' if !raw => raw = true,
            'b' | 'B' if !bytes => bytes = true,
            _ => return None,
        }
    }
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| rest.starts_with(quote))?;
    Some(inside(rest, quote, raw, bytes).map(|(token, len)| (token, prefix + len)))
}

fn inside(text: &str, quote: &str, raw: bool, bytes: bool) -> Result<(Token, usize), String> {
    let mut content: Vec<u8> = Vec::new();
    let mut letter_bytes = [0; 4];
    let mut at = quote.len();
    loop {
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with(quote) {
            at += quote.len();
            break;
        }
        let mut letters = rest.chars();
        let Some(letter) = letters.next() else { return Err("unterminated string".to_owned()) };
        at += letter.len_utf8();
        if letter == '\n' && quote.len() == 1 {
            return Err("token recognition error: a string is not closed in its line".to_owned());
        }
        if letter != '\\' || raw {
            content.extend_from_slice(letter.encode_utf8(&mut letter_bytes).as_bytes());
            if letter == '\\'
                && let Some(next) = letters.next()
            {
                at += next.len_utf8();
                content.extend_from_slice(next.encode_utf8(&mut letter_bytes).as_bytes());
            }
            continue;
        }
        let Some(escaped) = letters.next() else { return Err("unterminated string".to_owned()) };
        at += escaped.len_utf8();
        let digits = match escaped {
            'x' | 'X' => 2,
            'u' => 4,
            'U' => 8,
            '0'..='3' => 3,
            _ => 0,
        };
        if digits == 0 {
            content.push(match escaped {
                'n' => b'\n',
                't' => b'\t',
                'r' => b'\r',
                'a' => 7,
                'b' => 8,
                'f' => 12,
                'v' => 11,
                '\\' | '"' | '\'' | '`' | '?' => u8::try_from(escaped).unwrap_or_default(),
                _ => return Err(format!("invalid escape \\{escaped}")),
            });
            continue;
        }
        let octal = digits == 3;
        let start = if octal { at - 1 } else { at };
        let code = text.get(start..start + digits).unwrap_or_default();
        let value = u32::from_str_radix(code, if octal { 8 } else { 16 });
        let value = value.map_err(|_| format!("invalid escape \\{escaped}{code}"))?;
        at = start + digits;
        if bytes && digits <= 3 {
            content.extend(u8::try_from(value));
        } else {
            let letter = char::from_u32(value).ok_or_else(|| "invalid code point".to_owned())?;
            content.extend_from_slice(letter.encode_utf8(&mut letter_bytes).as_bytes());
        }
    }
    if bytes {
        return Ok((Token::Bytes(content.into()), at));
    }
    let text = String::from_utf8(content).map_err(|_| "invalid text".to_owned())?;
    Ok((Token::Text(text.into()), at))
}

struct Parser<'a> {
    tokens: &'a [(usize, Token)],
    next: usize,
    depth: usize,
    end: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Token {
        self.tokens.get(self.next).map_or(Token::End, |(_, token)| token.clone())
    }

    fn at(&self) -> usize {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    fn take(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Token::Sign(found) if found == sign);
        self.next += usize::from(found);
        found
    }

    fn expect(&mut self, sign: &str) -> Result<(), Failure> {
        if self.take(sign) { Ok(()) } else { Err(self.unexpected(&format!("'{sign}'"))) }
    }

    fn unexpected(&self, wanted: &str) -> Failure {
        let found = shown(&self.peek());
        (self.at(), format!("mismatched input '{found}' expecting {wanted}"))
    }

    fn expr(&mut self) -> Result<Expr, Failure> {
        if self.depth >= DEPTH_MAX {
            return Err((self.at(), "expression recursion limit exceeded".to_owned()));
        }
        self.depth += 1;
        let at = self.at();
        let when = self.binary(0)?;
        let found = if self.take("?") {
            let then = self.expr()?;
            self.expect(":")?;
            let other = self.expr()?;
            let (when, then, other) = (Box::new(when), Box::new(then), Box::new(other));
            Expr { at, kind: ExprKind::Either { when, then, other } }
        } else {
            when
        };
        self.depth -= 1;
        Ok(found)
    }

    fn operator(&self, level: usize) -> Option<Operator> {
        let sign = match self.peek() {
            Token::Sign(sign) => sign,
            Token::Name(name) if &*name == "in" => "in",
            Token::Name(_)
            | Token::Int(_)
            | Token::Least
            | Token::UInt(_)
            | Token::Double(_)
            | Token::Text(_)
            | Token::Bytes(_)
            | Token::End => return None,
        };
        Some(match (level, sign) {
            (0, "||") => Operator::Or,
            (1, "&&") => Operator::And,
            (2, "==") => Operator::Equal,
            (2, "!=") => Operator::Unequal,
            (2, "<") => Operator::Less,
            (2, "<=") => Operator::LessOrEqual,
            (2, ">") => Operator::Greater,
            (2, ">=") => Operator::GreaterOrEqual,
            (2, "in") => Operator::In,
            (3, "+") => Operator::Add,
            (3, "-") => Operator::Subtract,
            (4, "*") => Operator::Multiply,
            (4, "/") => Operator::Divide,
            (4, "%") => Operator::Remainder,
            _ => return None,
        })
    }

    fn binary(&mut self, level: usize) -> Result<Expr, Failure> {
        if level > 4 {
            return self.unary();
        }
        let at = self.at();
        let mut left = self.binary(level + 1)?;
        let mut length = 0;
        while let Some(operator) = self.operator(level) {
            // A long row is as deep as it is long.
            length += 1;
            if length > DEPTH_MAX * 4 {
                return Err((self.at(), "expression recursion limit exceeded".to_owned()));
            }
            self.next += 1;
            let right = self.binary(level + 1)?;
            let kind = ExprKind::Binary(operator, Box::new(left), Box::new(right));
            left = Expr { at, kind };
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr, Failure> {
        let at = self.at();
        if self.depth >= DEPTH_MAX {
            return Err((at, "expression recursion limit exceeded".to_owned()));
        }
        self.depth += 1;
        let found = if self.take("!") {
            Expr { at, kind: ExprKind::Not(Box::new(self.unary()?)) }
        } else if self.take("-") {
            match self.peek() {
                Token::Least => {
                    self.next += 1;
                    Expr { at, kind: ExprKind::Int(i64::MIN) }
                }
                Token::Int(number) => {
                    self.next += 1;
                    self.member(Expr { at, kind: ExprKind::Int(-number) })?
                }
                _ => Expr { at, kind: ExprKind::Negative(Box::new(self.unary()?)) },
            }
        } else {
            let primary = self.primary()?;
            self.member(primary)?
        };
        self.depth -= 1;
        Ok(found)
    }

    fn member(&mut self, mut of: Expr) -> Result<Expr, Failure> {
        let mut length = 0;
        loop {
            length += 1;
            if length > DEPTH_MAX * 4 {
                return Err((self.at(), "expression recursion limit exceeded".to_owned()));
            }
            let at = self.at();
            if self.take(".") {
                let optional = self.take("?");
                let Token::Name(name) = self.peek() else {
                    return Err(self.unexpected("IDENTIFIER"));
                };
                self.next += 1;
                of = if !optional && self.take("(") {
                    let args = self.list(")")?;
                    call(at, Some(of), &name, args)?
                } else {
                    let how = if optional { How::Optional } else { How::Value };
                    let kind = ExprKind::Select { of: Box::new(of), field: (*name).into(), how };
                    Expr { at, kind }
                };
            } else if self.take("[") {
                let optional = self.take("?");
                let place = self.expr()?;
                self.expect("]")?;
                let (inner, place) = (Box::new(of), Box::new(place));
                of = Expr { at, kind: ExprKind::Index { of: inner, at: place, optional } };
            } else {
                return Ok(of);
            }
        }
    }

    fn primary(&mut self) -> Result<Expr, Failure> {
        let at = self.at();
        let token = self.peek();
        self.next += 1;
        let kind = match token {
            Token::Int(number) => ExprKind::Int(number),
            Token::UInt(number) => ExprKind::UInt(number),
            Token::Double(number) => ExprKind::Double(number),
            Token::Text(text) => ExprKind::Text((*text).into()),
            Token::Bytes(bytes) => ExprKind::Bytes((*bytes).into()),
            Token::Name(name) => match &*name {
                "true" => ExprKind::Bool(true),
                "false" => ExprKind::Bool(false),
                "null" => ExprKind::Null,
                _ if self.take("(") => {
                    let args = self.list(")")?;
                    return call(at, None, &name, args);
                }
                name => ExprKind::Name(name.into()),
            },
            Token::Sign("(") => {
                let inner = self.expr()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Sign("[") => ExprKind::List(self.list("]")?),
            Token::Sign("{") => ExprKind::Map(self.entries()?),
            Token::Sign(_) | Token::Least | Token::End => {
                self.next -= 1;
                return Err(self.unexpected("an expression"));
            }
        };
        Ok(Expr { at, kind })
    }

    fn list(&mut self, end: &str) -> Result<Vec<Expr>, Failure> {
        let mut items = Vec::new();
        while !self.take(end) {
            items.push(self.expr()?);
            if !self.take(",") {
                self.expect(end)?;
                break;
            }
        }
        Ok(items)
    }

    fn entries(&mut self) -> Result<Vec<(Expr, Expr)>, Failure> {
        let mut entries = Vec::new();
        while !self.take("}") {
            let key = self.expr()?;
            self.expect(":")?;
            entries.push((key, self.expr()?));
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(entries)
    }
}

/// A call, or what stands for one of the language's own forms.
fn call(at: usize, of: Option<Expr>, name: &str, args: Vec<Expr>) -> Result<Expr, Failure> {
    let walk = match (name, args.len()) {
        ("all", 2 | 3) => Some(Walk::All),
        ("exists", 2 | 3) => Some(Walk::Exists),
        ("exists_one" | "existsOne", 2 | 3) => Some(Walk::ExistsOne),
        ("filter", 2) => Some(Walk::Filter),
        ("map", 2 | 3) => Some(Walk::Map),
        _ => None,
    };
    match (of, walk, name) {
        (Some(of), Some(walk), _) => each(at, of, walk, args),
        (None, _, "has") if args.len() == 1 => {
            let arg = args.into_iter().next();
            match arg.map(|arg| (arg.at, arg.kind)) {
                Some((at, ExprKind::Select { of, field, how: How::Value })) => {
                    Ok(Expr { at, kind: ExprKind::Select { of, field, how: How::Presence } })
                }
                Some(_) | None => Err((at, "invalid argument to has() macro".to_owned())),
            }
        }
        (Some(of), _, name) if names_functions(&of) => {
            let ExprKind::Name(space) = &of.kind else { return Err((at, String::new())) };
            let name = format!("{space}.{name}").into();
            Ok(Expr { at, kind: ExprKind::Call { of: None, name, args } })
        }
        (of, _, name) => {
            Ok(Expr { at, kind: ExprKind::Call { of: of.map(Box::new), name: name.into(), args } })
        }
    }
}

/// Whether an expression only stands before names of functions.
fn names_functions(of: &Expr) -> bool {
    matches!(&of.kind, ExprKind::Name(name) if NAMESPACES.contains(&&**name))
}

fn each(at: usize, of: Expr, walk: Walk, args: Vec<Expr>) -> Result<Expr, Failure> {
    let mut args = args.into_iter();
    let name = |args: &mut std::vec::IntoIter<Expr>| match args.next().map(|arg| arg.kind) {
        Some(ExprKind::Name(name)) => Ok(name),
        Some(_) | None => Err((at, "argument must be a simple name".to_owned())),
    };
    let first = name(&mut args)?;
    let two = walk != Walk::Map && args.len() == 2;
    let second = if two { Some(name(&mut args)?) } else { None };
    let Some(body) = args.next() else { return Err((at, "too few arguments".to_owned())) };
    let then = args.next();
    let each = Each { walk, of, names: (first, second), body, then };
    Ok(Expr { at, kind: ExprKind::Each(Box::new(each)) })
}
