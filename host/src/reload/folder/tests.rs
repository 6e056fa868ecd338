//! What counts as a change of the policy folder.

use super::*;

fn unsigned(text: &str) -> Content {
    Ok(Signed { bytes: text.into(), signature: None })
}

fn done<const N: usize>(files: [PathBuf; N]) -> Writers {
    Writers { done: files.into(), ..Writers::default() }
}

fn names(changes: &Changes) -> Vec<&str> {
    changes.files.iter().map(|(name, _)| &**name).collect()
}

#[test]
fn a_file_counts_when_it_has_kept_still_over_two_looks() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut folder = Folder::new(dir.path().to_owned());
    fs::write(dir.path().join("a.wasm"), b"one").expect("a file");
    let first = folder.look(true).expect("a look");
    assert_eq!((names(&first), first.unsettled), (vec![], true));
    fs::write(dir.path().join("a.wasm"), b"one and more").expect("a file");
    assert!(folder.look(true).expect("a look").unsettled);
    let third = folder.look(true).expect("a look");
    assert_eq!((names(&third), third.unsettled), (vec!["a"], false));
    assert_eq!(third.files[0].1, unsigned("one and more"));
    assert_eq!(names(&folder.look(true).expect("a look")), Vec::<&str>::new());
}

#[test]
fn a_file_that_its_writer_has_closed_counts_at_once_and_one_that_is_being_written_beside_it_does_not() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut folder = Folder::new(dir.path().to_owned());
    let at = |name: &str| dir.path().join(name);
    fs::write(at("a.wasm"), b"one").expect("a file");
    fs::write(at("b.wasm"), b"half").expect("a file");
    folder.hear(done([at("a.wasm")]));
    let look = folder.look(true).expect("a look");
    assert_eq!((names(&look), look.unsettled), (vec!["a"], true));
    // what was known of one look is not known of the next
    fs::write(at("a.wasm"), b"one and more").expect("a file");
    let look = folder.look(true).expect("a look");
    assert_eq!((names(&look), look.unsettled), (vec!["b"], true));
    // with a signature, both have to be whole
    folder.look(true).expect("a look");
    fs::write(at("a.wasm"), b"two").expect("a file");
    fs::write(at("a.wasm.minisig"), b"signed").expect("a file");
    folder.hear(done([at("a.wasm")]));
    assert!(folder.look(true).expect("a look").unsettled);
    fs::write(at("a.wasm"), b"three").expect("a file");
    fs::write(at("a.wasm.minisig"), b"signed again").expect("a file");
    folder.hear(done([at("a.wasm"), at("a.wasm.minisig")]));
    assert_eq!(names(&folder.look(true).expect("a look")), ["a"]);
    // and one alone where the other is as it was
    fs::write(at("a.wasm.minisig"), b"signed once more").expect("a file");
    folder.hear(done([at("a.wasm.minisig")]));
    assert_eq!(names(&folder.look(true).expect("a look")), ["a"]);
}

#[test]
fn a_file_that_somebody_is_writing_does_not_count_however_still_it_keeps() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut folder = Folder::new(dir.path().to_owned());
    let at = |name: &str| dir.path().join(name);
    let writing = |name: &str| Writers { at_it: [at(name)].into(), ..Writers::default() };
    fs::write(at("a.wasm"), b"half").expect("a file");
    for writer in ["a.wasm", "a.wasm", "a.wasm.minisig"] {
        folder.hear(writing(writer));
        let look = folder.look(true).expect("a look");
        assert_eq!((names(&look), look.unsettled), (vec![], true));
    }
    // nothing is known any more
    assert_eq!(names(&folder.look(true).expect("a look")), ["a"]);
    fs::write(at("a.wasm"), b"more").expect("a file");
    folder.hear(writing("a.wasm"));
    assert!(folder.look(true).expect("a look").unsettled);
    folder.hear(done([at("a.wasm")]));
    assert_eq!(names(&folder.look(true).expect("a look")), ["a"]);
}

#[test]
fn a_file_that_is_empty_or_ends_in_the_middle_is_given_time() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut folder = Folder::new(dir.path().to_owned());
    let at = |name: &str| dir.path().join(name);
    let age = |name: &str, age: Duration| {
        let file = fs::File::options().append(true).open(at(name)).expect("a file");
        file.set_modified(SystemTime::now() - age).expect("a time");
    };
    // no machine is that slow
    folder.patience = Duration::from_secs(3600);
    let cases: [(&str, &[u8]); 5] = [
        ("empty.wasm", b""),
        ("header.wasm", b"\0as"),
        ("half.wasm", b"\0asm\x01\0\0\0\x01\x20"),
        ("text.wasm", b"hello"),
        ("whole.wasm", b"\0asm\x01\0\0\0"),
    ];
    for (name, bytes) in cases {
        fs::write(at(name), bytes).expect("a file");
    }
    // whatever is said of the writers
    folder.hear(done(cases.map(|(name, _)| at(name))));
    let look = folder.look(true).expect("a look");
    let mut taken = names(&look);
    taken.sort_unstable();
    assert_eq!((taken, look.unsettled), (vec!["text", "whole"], true));
    let look = folder.look(true).expect("a look");
    assert_eq!((names(&look), look.unsettled), (vec![], true), "they keep still, and are young");
    // the rest comes
    fs::write(at("half.wasm"), b"\0asm\x01\0\0\0").expect("a file");
    folder.hear(done([at("half.wasm")]));
    assert_eq!(names(&folder.look(true).expect("a look")), ["half"]);
    // nothing comes
    age("empty.wasm", folder.patience);
    let look = folder.look(true).expect("a look");
    assert_eq!((names(&look), look.unsettled), (vec![], true), "its times have changed");
    let look = folder.look(true).expect("a look");
    assert_eq!((names(&look), look.unsettled), (vec!["empty"], true), "and `header` is young");
    let look = Folder::new(dir.path().to_owned()).look(false).expect("a look");
    assert_eq!(look.files.len(), cases.len(), "at the start nobody waits");
}

#[test]
fn a_file_that_is_wanted_at_once_counts_as_it_is_and_no_other_does() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut folder = Folder::new(dir.path().to_owned());
    for name in ["a", "b"] {
        fs::write(dir.path().join(format!("{name}.wasm")), b"half").expect("a file");
    }
    folder.at_once(&"a".into());
    let look = folder.look(true).expect("a look");
    assert_eq!((names(&look), look.unsettled), (vec!["a"], true));
    // for one look
    fs::write(dir.path().join("a.wasm"), b"half again").expect("a file");
    assert_eq!(names(&folder.look(true).expect("a look")), ["b"]);
}

#[test]
fn at_start_every_file_counts_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("a.wasm"), b"one").expect("a file");
    assert_eq!(names(&Folder::new(dir.path().to_owned()).look(false).expect("a look")), ["a"]);
}

#[test]
fn temporary_and_hidden_files_are_not_ours_and_strange_names_are_told() {
    let dir = tempfile::tempdir().expect("a folder");
    for name in ["a.wasm~", ".a.wasm", "#a.wasm#", "a.wasm.tmp", "..data", "4913", "b c.wasm", "d.wasm", "UP.WASM"] {
        fs::write(dir.path().join(name), b"x").expect("a file");
    }
    let changes = Folder::new(dir.path().to_owned()).look(false).expect("a look");
    assert_eq!(names(&changes), ["d"]);
    let mut told: Vec<String> = changes.strange.iter().map(ToString::to_string).collect();
    told.sort_unstable();
    assert_eq!(
        told,
        [
            "UP.WASM: a policy's file ends in `.wasm`, in small letters; rename the file",
            "b c.wasm: a policy's name may have letters, digits, `-`, `_` and `.` only, and at most 64 of them; rename the \
          file"
        ]
    );
}

#[test]
fn a_file_with_two_suffixes_is_not_mixed_up_with_another() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("a.wasm.wasm"), b"other").expect("a file");
    let mut folder = Folder::new(dir.path().to_owned());
    let changes = folder.look(false).expect("a look");
    assert_eq!(changes.strange[0].to_string(), "a.wasm.wasm: ends in `.wasm` twice; rename the file");
    assert!(changes.files.is_empty() && !folder.has("a"));
}

#[cfg(unix)]
#[test]
fn what_cannot_be_a_policy_is_told_once_and_the_file_that_was_there_is_not_gone() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("a.wasm");
    let mut folder = Folder::new(dir.path().to_owned());
    fs::write(&file, b"one").expect("a file");
    folder.look(false).expect("a look");
    let mut told = || {
        assert!(folder.look(true).expect("a look").unsettled);
        let changes = folder.look(true).expect("a look");
        let again = folder.look(true).expect("a look");
        assert_eq!((changes.gone, again.files.len()), (vec![], 0));
        changes.files.into_iter().next().expect("news").1.map_err(|error| error.to_string())
    };
    fs::remove_file(&file).expect("a removal");
    fs::create_dir(&file).expect("a folder");
    let problem = "a.wasm: is not a regular file; put the policy's file in its place, or remove it";
    assert_eq!(told(), Err(problem.to_owned()));
    fs::remove_dir(&file).expect("a removal");
    symlink("a.wasm", &file).expect("a link");
    let problem = "a.wasm: is a symbolic link that leads in a circle; let it lead to a file";
    assert_eq!(told(), Err(problem.to_owned()));
    fs::remove_file(&file).expect("a removal");
    symlink("nowhere", &file).expect("a link");
    let problem = "a.wasm: is a symbolic link that leads nowhere; let it lead to a file, or remove it";
    assert_eq!(told(), Err(problem.to_owned()));
    fs::write(dir.path().join("nowhere"), b"two").expect("a file");
    assert_eq!(told(), unsigned("two").map_err(|error| error.to_string()));
}

#[cfg(unix)]
#[test]
fn a_file_that_may_be_read_at_last_or_kept_its_time_is_a_change() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("a.wasm");
    fs::write(&file, b"one").expect("a file");
    let time = fs::metadata(&file).and_then(|metadata| metadata.modified()).expect("a time");
    let mut folder = Folder::new(dir.path().to_owned());
    folder.look(false).expect("a look");
    // the kernel's clock for files ticks every few milliseconds
    let tick = || std::thread::sleep(Duration::from_millis(20));
    tick();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("a mode");
    assert_eq!(names(&folder.look(false).expect("a look")), ["a"]);
    tick();
    fs::write(&file, b"two").expect("a file");
    fs::File::options().append(true).open(&file).and_then(|file| file.set_modified(time)).expect("a time");
    assert_eq!(folder.look(false).expect("a look").files, [(Arc::from("a"), unsigned("two"))]);
}

#[test]
fn a_name_has_a_limit() {
    let dir = tempfile::tempdir().expect("a folder");
    let (longest, longer) = ("n".repeat(LONGEST_NAME), "n".repeat(LONGEST_NAME + 1));
    for name in [&longest, &longer] {
        fs::write(dir.path().join(format!("{name}.wasm")), b"x").expect("a file");
    }
    let changes = Folder::new(dir.path().to_owned()).look(false).expect("a look");
    assert_eq!(names(&changes), [longest]);
    assert_eq!(
        changes.strange[0].to_string(),
        format!(
            "{longer}.wasm: a policy's name may have letters, digits, `-`, `_` and `.` only, and at most 64 of them; \
             rename the file"
        )
    );
}

#[cfg(unix)]
#[test]
fn the_swap_of_a_config_map_is_a_change() {
    use std::os::unix::fs::symlink;
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    for (folder, text) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir(at(folder)).expect("a folder");
        fs::write(at(folder).join("a.wasm"), text).expect("a file");
    }
    symlink("..1", at("..data")).expect("a link");
    symlink("..data/a.wasm", at("a.wasm")).expect("a link");
    let mut folder = Folder::new(dir.path().to_owned());
    let first = folder.look(false).expect("a look");
    assert_eq!(first.files[0], (Arc::from("a"), unsigned("one")));
    symlink("..2", at("..tmp")).expect("a link");
    fs::rename(at("..tmp"), at("..data")).expect("a swap");
    assert!(folder.look(true).expect("a look").unsettled);
    assert_eq!(folder.look(true).expect("a look").files[0].1, unsigned("two"));
}

#[test]
fn a_file_is_handed_out_once_more_when_asked_for() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("a.wasm"), b"one").expect("a file");
    let mut folder = Folder::new(dir.path().to_owned());
    folder.look(false).expect("a look");
    assert_eq!(names(&folder.look(true).expect("a look")), Vec::<&str>::new());
    folder.again("a");
    folder.again("nobody");
    assert_eq!(names(&folder.look(true).expect("a look")), ["a"]);
}

#[test]
fn a_deleted_file_is_gone_once() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("a.wasm"), b"one").expect("a file");
    let mut folder = Folder::new(dir.path().to_owned());
    folder.look(false).expect("a look");
    fs::remove_file(dir.path().join("a.wasm")).expect("a removal");
    assert_eq!(folder.look(true).expect("a look").gone, [Arc::from("a")]);
    assert_eq!(folder.look(true).expect("a look").gone, Vec::<Arc<str>>::new());
}

#[test]
fn a_file_above_the_limit_is_told_without_being_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = fs::File::create(dir.path().join("big.wasm")).expect("a file");
    file.set_len(LARGEST_FILE.bytes + 1).expect("a sparse file");
    let changes = Folder::new(dir.path().to_owned()).look(false).expect("a look");
    let error = changes.files[0].1.as_ref().expect_err("too large");
    assert_eq!(
        error.to_string(),
        "big.wasm: has 67108865 bytes, the limit is 67108864; leave out debug information, or build it for size"
    );
    file.set_len(LARGEST_FILE.bytes).expect("a sparse file");
    let changes = Folder::new(dir.path().to_owned()).look(false).expect("a look");
    assert!(changes.files[0].1.is_ok());
}

#[test]
fn a_signature_belongs_to_its_file_and_a_new_one_is_a_change() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut folder = Folder::new(dir.path().to_owned());
    let signature = dir.path().join("a.wasm.minisig");
    fs::write(dir.path().join("a.wasm"), b"one").expect("a file");
    fs::write(&signature, "signed").expect("a file");
    let signed = |text: &str| Ok(Signed { bytes: b"one".to_vec(), signature: Some(text.to_owned()) });
    assert_eq!(folder.look(false).expect("a look").files, [(Arc::from("a"), signed("signed"))]);
    fs::write(&signature, "signed again").expect("a file");
    assert!(folder.look(true).expect("a look").unsettled);
    assert_eq!(folder.look(true).expect("a look").files, [(Arc::from("a"), signed("signed again"))]);
    fs::remove_file(&signature).expect("a removal");
    assert!(folder.look(true).expect("a look").unsettled);
    assert_eq!(folder.look(true).expect("a look").files, [(Arc::from("a"), unsigned("one"))]);
    fs::write(&signature, [b'x'; 4097]).expect("a file");
    assert_eq!(
        folder.look(false).expect("a look").files[0].1.as_ref().expect_err("too large").to_string(),
        "a.wasm.minisig: has 4097 bytes, the limit is 4096; put the file that `minisign -S` made there"
    );
    fs::write(&signature, [b'x'; 4096]).expect("a file");
    assert!(folder.look(false).expect("a look").files[0].1.is_ok());
}

#[test]
fn what_is_forgotten_is_handed_out_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut folder = Folder::new(dir.path().to_owned());
    fs::write(dir.path().join("a.wasm"), b"one").expect("a file");
    folder.look(false).expect("a look");
    assert!(folder.has("a"));
    folder.forget();
    assert_eq!(folder.look(true).expect("a look").files, [(Arc::from("a"), unsigned("one"))]);
}
