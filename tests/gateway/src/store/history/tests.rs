//! History in a database in memory: what goes in comes out, finer or coarser, folded or not, with its
//! gaps, and in no more bytes than promised.

use rusqlite::Connection;

use super::*;
use crate::store::place::{Place, migrate};

const DAY: i64 = 24 * 3600;
/// A full hour.
const START: i64 = 1_700_000_000 / 3600 * 3600;

fn database(instances: i64) -> Connection {
    let mut connection = Place::memory().unwrap().open().unwrap();
    migrate(&mut connection).unwrap();
    for no in 1..=instances {
        let insert = "INSERT INTO instances (no, id, record) VALUES (?1, ?1, '')";
        connection.execute(insert, [no]).unwrap();
    }
    connection
}

/// A wave that no two minutes share, so that a point at the wrong place is seen.
fn point(minute: i64) -> Point {
    let value = |step: i64| Some((minute * step % 1000) as u16);
    Point { values: [value(7), value(1), value(3), Some((minute % 50) as u16)] }
}

fn fill(
    connection: &mut Connection,
    no: Number,
    secs: std::ops::Range<i64>,
    gap: impl Fn(i64) -> bool,
) {
    let transaction = connection.transaction().unwrap();
    for minute in secs.start / 60..secs.end / 60 {
        if !gap(minute) {
            // Somewhere within the minute.
            let at = Moment::from_secs(minute * 60 + minute % 60);
            insert(&transaction, no, at, point(minute)).unwrap();
        }
    }
    transaction.commit().unwrap();
}

use crate::store::instances::Number;

fn fold_all(connection: &Connection, now: i64) {
    let mut folding = Folding::default();
    let over = (now - 60).div_euclid(3600);
    for _ in 0..100_000 {
        folding.go_on(connection, Moment::from_secs(now)).unwrap();
        let left: Option<i64> = recent::first_from(connection, 0).unwrap();
        if fold::folded_before(connection).unwrap() == Some(over)
            && left.is_none_or(|minute| minute >= over * 60)
        {
            return;
        }
    }
    panic!("it never comes to an end");
}

fn read_all(connection: &Connection, step: Step, from: i64, to: i64) -> History {
    let range = Range::new(step, Moment::from_secs(from), Moment::from_secs(to));
    read(connection, 1, range).unwrap()
}

#[test]
fn it_reads_the_same_before_and_after_it_is_folded() {
    let mut connection = database(1);
    // The mark is older than the data, as it is after a start.
    Folding::default().go_on(&connection, Moment::from_secs(START)).unwrap();
    let end = START + 5 * 3600 + 600;
    fill(&mut connection, 1, START..end, |minute| minute % 7 == 0 || (minute / 60) % 5 == 3);
    let read =
        |connection: &Connection| Step::ALL.map(|step| read_all(connection, step, START, end));
    let before = read(&connection);
    fold_all(&connection, end);
    let after = read(&connection);
    assert_eq!(before, after);

    let [minutes, tens, hours] = after;
    assert_eq!([minutes.count.len(), tens.count.len(), hours.count.len()], [310, 31, 6]);
    for (minute, count) in (START / 60..).zip(&minutes.count) {
        let gap = minute % 7 == 0 || (minute / 60) % 5 == 3;
        assert_eq!(*count == 0, gap, "minute {minute}");
    }
    assert_eq!(hours.count.iter().filter(|count| **count == 0).count(), 1, "a gap of an hour");
}

#[test]
fn a_coarse_point_has_the_extremes_and_the_mean_of_its_minutes() {
    let value = |cpu| Point { values: [cpu, None, Some(1), Some(2)] };
    let cell = Cell::fold(&[value(Some(10)), value(Some(31)), value(None)]);
    assert_eq!(cell.count, 3);
    assert_eq!(cell.metrics[0], Some(Spread { min: 10, max: 31, mean: 21 }));
    assert_eq!(cell.metrics[1], None);
    assert_eq!(Cell::fold(&[]), Cell::default());
    let series = Series::of(Step::Hour, &[cell, Cell::default()], 0);
    assert_eq!(series.mean, [Some(2.1), None]);
    assert_eq!(series.max, Some(vec![Some(3.1), None]));
}

#[test]
fn cells_are_unpacked_as_they_were_packed() {
    for step in Step::ALL {
        let mut cells: Vec<Cell> = (1..5).map(|minute| Cell::of(point(minute))).collect();
        cells[1] = Cell::default();
        cells.push(Cell::of(Point { values: [None, None, None, Some(0)] }));
        let bytes = blocks::pack(step, &[&cells[..], &[Cell::default(); 3]].concat());
        assert_eq!(blocks::unpack(step, &bytes), cells, "{step:?}");
        assert_eq!(blocks::unpack(step, &bytes[..bytes.len() - 1]).len(), cells.len() - 1);
    }
}

/// Cut off after each step, and begun anew.
#[test]
fn folding_can_be_cut_off_anywhere() {
    let mut connection = database(70);
    Folding::default().go_on(&connection, Moment::from_secs(START)).unwrap();
    for no in [1, 33, 70] {
        fill(&mut connection, no, START..START + 7200, |_| false);
    }
    let before = read_all(&connection, Step::TenMinutes, START, START + 7200);
    let now = START + 7200 + 60;
    for steps in 1..12 {
        let mut folding = Folding::default();
        for _ in 0..steps {
            folding.go_on(&connection, Moment::from_secs(now)).unwrap();
        }
        assert_eq!(read_all(&connection, Step::TenMinutes, START, START + 7200), before);
    }
    fold_all(&connection, now);
    assert_eq!(read_all(&connection, Step::TenMinutes, START, START + 7200), before);
}

#[test]
fn after_a_clock_that_was_wrong_history_goes_on() {
    let mut connection = database(1);
    fold_all(&connection, START + 3650 * DAY);
    Folding::default().go_on(&connection, Moment::from_secs(START)).unwrap();
    fill(&mut connection, 1, START..START + 3600, |_| false);
    fold_all(&connection, START + 3600 + 60);
    assert_eq!(read_all(&connection, Step::Hour, START, START + 3600).count, [60]);
}

/// Of each hour that it does read, it asks for sixty rows.
#[test]
fn nothing_is_looked_for_in_the_future() {
    let (now, hour) = (Moment::from_secs(START + 1800), START / 3600);
    let range = |from, to| Range::new(Step::Hour, Moment::from_secs(from), Moment::from_secs(to));
    let of = |range: Range| range.not_folded(hour - 1, now).collect::<Vec<_>>();
    assert_eq!(of(range(START - DAY, START + 1800)), [hour - 1, hour]);
    assert_eq!(of(range(START - DAY, START + DAY)), [hour - 1, hour]);
    assert!(of(range(START + 1000 * DAY, START + 1030 * DAY)).is_empty());
}

const NEW: Point = Point { values: [Some(1234), None, None, Some(1)] };

/// Ten minutes anew, somewhere within the second hour: the clock is there again.
fn ten_minutes_again(connection: &mut Connection) {
    Folding::default().go_on(connection, Moment::from_secs(START + 3600 + 60)).unwrap();
    let transaction = connection.transaction().unwrap();
    for minute in 20..30 {
        let at = Moment::from_secs(START + 3600 + minute * 60);
        insert(&transaction, 1, at, if minute == 25 { Point::default() } else { NEW }).unwrap();
    }
    transaction.commit().unwrap();
}

#[test]
fn a_clock_that_is_set_back_takes_nothing_away() {
    let mut connection = database(1);
    Folding::default().go_on(&connection, Moment::from_secs(START)).unwrap();
    let end = START + 3 * 3600;
    fill(&mut connection, 1, START..end, |minute| minute % 60 == 7);
    fold_all(&connection, end + 60);
    let read =
        |connection: &Connection| Step::ALL.map(|step| read_all(connection, step, START, end));
    let [minutes, tens, hours] = read(&connection);

    ten_minutes_again(&mut connection);
    let again = read(&connection);
    fold_all(&connection, START + 2 * 3600 + 60);
    assert_eq!(read(&connection), again, "it reads the same before and after it is folded");
    let counts = |history: &History| history.count.clone();
    let known = [&minutes, &tens, &hours].map(counts);
    assert_eq!(again.each_ref().map(counts), known, "a gap stays one, and there is none more");

    let cpu = |history: &History, index: usize| history.cpu_pct.mean[index];
    let [new_minutes, new_tens, new_hours] = &again;
    for index in 0..180 {
        let expected = match index {
            80..=84 | 86..=89 => Some(123.4),
            _ => cpu(&minutes, index),
        };
        assert_eq!(cpu(new_minutes, index), expected, "minute {index}");
    }
    assert_eq!(cpu(new_tens, 7), cpu(&tens, 7));
    assert_ne!(cpu(new_tens, 8), cpu(&tens, 8));
    assert_eq!(new_hours.cpu_pct.max.as_ref().unwrap()[1], Some(123.4));
}

/// Of a time whose minutes are not kept any more, the fuller of two points stays.
/// Its hour is not yet over for the clock that is right, and is marked as folded all the same.
#[test]
fn a_clock_that_was_an_hour_ahead_for_a_moment_loses_nothing() {
    let mut connection = database(1);
    Folding::default().go_on(&connection, Moment::from_secs(START)).unwrap();
    fill(&mut connection, 1, START..START + 1800, |_| false);
    fold_all(&connection, START + 3600 + 1800);
    fill(&mut connection, 1, START + 1800..START + 3000, |_| false);
    Folding::default().go_on(&connection, Moment::from_secs(START + 3000)).unwrap();
    fold_all(&connection, START + 2 * 3600);
    assert_eq!(read_all(&connection, Step::Hour, START, START + 3600).count, [50]);
}

#[test]
fn a_clock_that_is_set_back_by_days_takes_nothing_away() {
    let mut connection = database(1);
    Folding::default().go_on(&connection, Moment::from_secs(START)).unwrap();
    let later = START + 3 * DAY;
    fill(&mut connection, 1, START..START + 2 * 3600, |_| false);
    fill(&mut connection, 1, later..later + 3600, |_| false);
    fold_all(&connection, later + 3600 + 60);
    let read = |connection: &Connection| read_all(connection, Step::Hour, START, START + 2 * 3600);
    let before = read(&connection);
    assert_eq!(before.count, [60, 60]);
    ten_minutes_again(&mut connection);
    fold_all(&connection, START + 2 * 3600 + 60);
    assert_eq!(read(&connection), before);
}

/// 30 days and some of full history of a few instances, as it grows, an hour at a time.
#[test]
fn an_instance_takes_at_most_90_kb() {
    const INSTANCES: i64 = 4;
    let mut connection = database(INSTANCES);
    Folding::default().go_on(&connection, Moment::from_secs(START)).unwrap();
    let used = |connection: &Connection| -> i64 {
        let pragma =
            |name| -> i64 { connection.pragma_query_value(None, name, |row| row.get(0)).unwrap() };
        (pragma("page_count") - pragma("freelist_count")) * pragma("page_size")
    };
    // Each table has a page, also an empty one.
    let empty = used(&connection);
    let end = START + 32 * DAY;
    for hour in (START..end).step_by(3600) {
        for no in 1..=INSTANCES {
            fill(&mut connection, no, hour..hour + 3600, |_| false);
        }
        let transaction = connection.transaction().unwrap();
        fold_all(&transaction, hour + 3600 + 60);
        transaction.commit().unwrap();
    }
    let count = |step: Step| -> i64 {
        let sum = "SELECT count(*) FROM history WHERE instance = 1 AND step = ?1";
        connection.query_row(sum, [step.secs()], |row| row.get(0)).unwrap()
    };
    // What is kept, and of the coarse steps a block that is not full yet.
    assert_eq!(Step::ALL.map(count), [24, 7 * 4 + 1, 30 + 1]);

    let each = (used(&connection) - empty) / INSTANCES;
    println!("{each} bytes for each instance: {} MB for 10,000", each * 10_000 / 1_000_000);
    assert!(each <= 90_000, "{each} bytes");
}
