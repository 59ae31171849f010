//! What the user has set: the pause, the filter, the order; and what each key does. Pure.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::filter::{self, Filter};
use super::model::{Model, Sort};

/// What a key asks of the loop.
#[derive(Debug)]
pub(super) enum Action {
    /// Nothing that shows.
    Nothing,
    /// Draw.
    Draw,
    /// Draw every cell: something else wrote to the terminal.
    Redraw,
    /// Count only this from now on.
    Filter(Option<Filter>),
    Quit,
}

/// The user's settings.
pub(super) struct Desk {
    pub(super) sort: Sort,
    /// The picture that is held while paused. Reading goes on, so nothing is lost by it.
    pub(super) paused: Option<Box<Model>>,
    /// The text of the filter while it is typed.
    pub(super) typing: Option<String>,
    /// Why the typed filter is none.
    pub(super) complaint: Option<String>,
}

impl Desk {
    pub(super) fn new() -> Desk {
        Desk {
            sort: Sort::Events,
            paused: None,
            typing: None,
            complaint: None,
        }
    }

    /// Takes one key.
    pub(super) fn key(&mut self, key: KeyEvent, model: &Model) -> Action {
        if key.kind == KeyEventKind::Release {
            return Action::Nothing;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c' | 'd') if control => return Action::Quit,
            KeyCode::Char('l') if control => return Action::Redraw,
            _ if control => return Action::Nothing,
            _ => {}
        }
        if self.typing.is_some() {
            return self.type_on(key.code);
        }
        match key.code {
            KeyCode::Char('q') => return Action::Quit,
            KeyCode::Char('p' | ' ') => {
                self.paused = match self.paused {
                    Some(_) => None,
                    None => Some(Box::new(model.clone())),
                };
            }
            KeyCode::Char('f' | '/') => {
                self.complaint = None;
                let now = model.filter().map(|filter| filter.text().to_owned());
                self.typing = Some(now.unwrap_or_default());
            }
            KeyCode::Tab | KeyCode::BackTab | KeyCode::Left | KeyCode::Right => {
                self.sort = self.sort.next();
            }
            _ => return Action::Nothing,
        }
        Action::Draw
    }

    fn type_on(&mut self, code: KeyCode) -> Action {
        let Some(text) = &mut self.typing else {
            return Action::Nothing;
        };
        match code {
            KeyCode::Esc => {
                self.typing = None;
                self.complaint = None;
            }
            KeyCode::Enter => match Filter::parse(text) {
                Ok(filter) => {
                    self.typing = None;
                    self.complaint = None;
                    self.paused = None;
                    return Action::Filter(filter);
                }
                Err(complaint) => self.complaint = Some(complaint),
            },
            KeyCode::Backspace => {
                text.pop();
            }
            KeyCode::Char(c) if text.chars().count() < filter::CHARS_MAX => text.push(c),
            _ => return Action::Nothing,
        }
        Action::Draw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn press(desk: &mut Desk, code: KeyCode) -> Action {
        desk.key(KeyEvent::from(code), &Model::new(1000))
    }

    fn type_text(desk: &mut Desk, text: &str) {
        for c in text.chars() {
            assert!(matches!(press(desk, KeyCode::Char(c)), Action::Draw));
        }
    }

    #[test]
    fn keys_quit_pause_and_sort() {
        let mut desk = Desk::new();
        assert!(matches!(press(&mut desk, KeyCode::Char('q')), Action::Quit));
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(matches!(desk.key(interrupt, &Model::new(0)), Action::Quit));
        press(&mut desk, KeyCode::Char('p'));
        assert!(desk.paused.is_some());
        press(&mut desk, KeyCode::Char('p'));
        assert!(desk.paused.is_none());
        press(&mut desk, KeyCode::Tab);
        assert_eq!(desk.sort, Sort::Bytes);
        assert!(matches!(press(&mut desk, KeyCode::F(1)), Action::Nothing));
    }

    #[test]
    fn a_filter_is_typed_corrected_and_taken() {
        let mut desk = Desk::new();
        press(&mut desk, KeyCode::Char('f'));
        type_text(&mut desk, "q[");
        assert!(matches!(press(&mut desk, KeyCode::Enter), Action::Draw));
        assert!(desk.complaint.is_some() && desk.typing.is_some());
        press(&mut desk, KeyCode::Backspace);
        match press(&mut desk, KeyCode::Enter) {
            Action::Filter(Some(filter)) => assert_eq!(filter.text(), "q"),
            other => panic!("{other:?}"),
        }
        assert!(desk.complaint.is_none() && desk.typing.is_none());
    }

    #[test]
    fn escape_leaves_the_filter_and_its_length_has_a_limit() {
        let mut desk = Desk::new();
        press(&mut desk, KeyCode::Char('f'));
        for _ in 0..filter::CHARS_MAX + 9 {
            press(&mut desk, KeyCode::Char('x'));
        }
        assert_eq!(desk.typing.as_ref().unwrap().len(), filter::CHARS_MAX);
        press(&mut desk, KeyCode::Esc);
        assert!(desk.typing.is_none());
    }
}
