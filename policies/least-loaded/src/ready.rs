//! Whether a server could begin with a request at once, by what it said of itself.

/// What is read, by row.
#[derive(Clone, Copy, Debug)]
pub struct Ready<'a> {
    /// Requests of this gateway in flight: fresher than what the server said.
    pub in_flight: &'a [f64],
    /// 0 when the model would have to be loaded.
    pub loaded: &'a [f64],
    /// Requests that it could take up.
    pub free: &'a [f64],
    /// Requests that it carries out.
    pub running: &'a [f64],
    /// Requests that wait at it.
    pub queue: &'a [f64],
}

/// The lower, the sooner a request begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// At once.
    Ready,
    /// When another has ended.
    Waits,
    /// When the model is loaded, which may take minutes.
    Cold,
}

impl Ready<'_> {
    /// The class of a row. Of the room that the server told, what has been sent since is gone.
    pub fn class(&self, row: usize) -> Class {
        let room = self.free[row] + self.running[row] - self.running[row].max(self.in_flight[row]);
        if self.loaded[row] < 1.0 {
            Class::Cold
        } else if room < 1.0 || self.queue[row] > 0.0 {
            Class::Waits
        } else {
            Class::Ready
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_ready_with_its_model_loaded_and_room() {
        let ready = Ready {
            in_flight: &[0.0, 2.0, 3.0, 0.0, 0.0, 0.0],
            loaded: &[1.0, 1.0, 1.0, 0.0, 1.0, 1.0],
            free: &[1.0, 1.0, 2.0, 4.0, 0.0, 1e6],
            running: &[1.0, 1.0, 0.0, 0.0, 2.0, 0.0],
            queue: &[0.0, 0.0, 0.0, 0.0, 0.0, 1.0],
        };
        use Class::{Cold, Ready as IsReady, Waits};
        let classes: Vec<Class> = (0..6).map(|row| ready.class(row)).collect();
        // of the second, the one free slot has been taken since, and of the third both
        assert_eq!(classes, [IsReady, Waits, Waits, Cold, Waits, Waits]);
        assert!(IsReady < Waits && Waits < Cold);
    }
}
