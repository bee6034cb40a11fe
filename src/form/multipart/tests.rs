//! Bodies that are good, bodies that readers disagree on, and any cut through either.

use proptest::prelude::*;

use super::*;
use crate::secret::Secret;

const B: &str = "XyZ";

fn boundary() -> Boundary {
    Boundary::of(&format!("multipart/form-data; boundary={B}")).expect("multipart").expect("boundary")
}

fn field(name: &str, value: &str) -> Field {
    Field { name: name.into(), value: Secret::new(value.into()) }
}

/// What comes out, cut into chunks of `cut` bytes on the way in.
fn run(editor: &mut Multipart, body: &[u8], cut: usize) -> Result<Vec<u8>, Fault> {
    let mut out = VecDeque::new();
    for chunk in body.chunks(cut.max(1)) {
        editor.push(Bytes::copy_from_slice(chunk), &mut out)?;
    }
    editor.finish(&mut out)?;
    Ok(out.into_iter().flatten().collect())
}

fn edit(edits: Vec<Edit>, body: &[u8], cut: usize) -> Result<Vec<u8>, Fault> {
    let mut editor = Multipart::editing(&boundary(), edits)?;
    let growth = editor.growth() as usize;
    let out = run(&mut editor, body, cut)?;
    assert_eq!(out.len(), body.len() + growth, "the length is the one that was said: {}", out.escape_ascii());
    Ok(out)
}

fn text(name: &str, value: &str) -> String {
    format!("--{B}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
}

fn file(content: &str) -> String {
    format!("--{B}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\nContent-Type: video/mp4\r\n\r\n{content}\r\n")
}

fn end() -> String {
    format!("--{B}--\r\n")
}

#[test]
fn each_edit_does_what_it_says() {
    let (video, token) = (text("videoId", "vi1"), text("token", "x"));
    let ours = text("token", "secret");
    let media = file("moov\r\nmdat--XyZ-");
    for (edits, body, becomes) in [
        (vec![Edit::Remove("token".into())], vec![&video, &token, &media], vec![&video, &media]),
        (vec![Edit::Remove("token".into())], vec![&token, &media, &token], vec![&media]),
        (vec![Edit::Replace(field("token", "secret"))], vec![&media, &token], vec![&ours, &media]),
        (vec![Edit::Replace(field("token", "secret"))], vec![], vec![&ours]),
        (vec![Edit::Append(field("token", "secret"))], vec![&token, &media], vec![&ours, &token, &media]),
        (vec![Edit::IfAbsent(field("token", "secret"))], vec![&token, &media], vec![&token, &media]),
        (vec![Edit::IfAbsent(field("token", "secret"))], vec![&media], vec![&media, &ours]),
        (vec![Edit::IfAbsent(field("token", "secret"))], vec![], vec![&ours]),
    ] {
        let whole = |parts: Vec<&String>| parts.into_iter().cloned().collect::<String>() + &end();
        let (body, becomes) = (whole(body), whole(becomes));
        for cut in [1, 7, 1000] {
            let out = edit(edits.clone(), body.as_bytes(), cut).expect("edited");
            let (kept, filled) = out.split_at(becomes.len());
            assert_eq!(String::from_utf8_lossy(kept), becomes, "{edits:?} in {cut}s");
            assert!(filled.iter().all(|byte| b"\r\n".contains(byte)), "{}", filled.escape_ascii());
        }
    }
}

#[test]
fn nothing_is_made_up_where_no_length_is_declared() {
    let body = text("token", "x") + &file("f") + &end();
    let mut editor = Multipart::editing(&boundary(), vec![Edit::Remove("token".into())]).expect("editor").without_length();
    assert_eq!(run(&mut editor, body.as_bytes(), 5).expect("edited"), (file("f") + &end()).as_bytes());
}

#[test]
fn parts_and_small_fields_are_read_on_the_way() {
    let body = text("videoId", "vi1") + &file(&"x".repeat(10_000)) + &end();
    let mut looking = Multipart::looking(&boundary()).wanting(&["videoId"]);
    run(&mut looking, body.as_bytes(), 333).expect("passed");
    let [video, file] = looking.parts() else { panic!("two parts") };
    assert_eq!((video.value.as_deref(), video.complete, video.bytes), (Some(&b"vi1"[..]), true, 3));
    assert_eq!((file.filename.as_deref(), file.content_type.as_deref()), (Some("a.mp4"), Some("video/mp4")));
    assert_eq!((file.bytes, file.value.is_none(), looking.fault()), (10_000, true, None));
}

#[test]
fn preamble_and_epilogue_stay_where_they_are() {
    let body = format!("This is a form.\r\n{}{}the end\r\n", file("f"), end());
    let out = edit(vec![Edit::Append(field("token", "s"))], body.as_bytes(), 3).expect("edited");
    let becomes = format!("This is a form.\r\n{}{}{}the end\r\n", text("token", "s"), file("f"), end());
    assert_eq!(String::from_utf8_lossy(&out), becomes);
}

#[test]
fn a_file_goes_out_as_the_chunks_it_came_in() {
    let mut looking = Multipart::looking(&boundary());
    let mut out = VecDeque::new();
    looking.push(file("").trim_end_matches("\r\n").to_owned().into(), &mut out).expect("header");
    looking.push("\r\n\r\n".into(), &mut out).expect("header");
    out.clear();
    let chunk = Bytes::from(vec![b'z'; 4096]);
    looking.push(chunk.clone(), &mut out).expect("content");
    assert_eq!((out.len(), out[0].as_ptr()), (1, chunk.as_ptr()), "not copied");
}

#[test]
fn what_two_readers_could_read_differently_is_not_edited() {
    let with = |inside: &str| file(inside) + &end();
    for (body, fault) in [
        (with("a\n--XyZ\r\nContent-Disposition: form-data; name=\"token\"\r\n\r\nx"), Fault::Ambiguous),
        (with("a\r--XyZ\r\nb"), Fault::Ambiguous),
        (with("a\r\n--XyZ \r\nb"), Fault::Ambiguous),
        (with("a\r\n--XyZ\nb"), Fault::Ambiguous),
        (with("a\r\n--XyZabc\r\nb"), Fault::Ambiguous),
        (with("a\r\n--XyZ--x"), Fault::Ambiguous),
        (with("--XyZ\r\nb"), Fault::Ambiguous),
        (format!("--XyZ\n{}", file("a")), Fault::Ambiguous),
        (with("a") + &text("token", "x") + &end(), Fault::Ambiguous),
        (with("a") + "\n--XyZ--", Fault::Ambiguous),
        (with("a\r\n--XyZ\r\n\r\nb"), Fault::Header),
        (
            with("a\r\n--XyZ\r\nContent-Disposition: form-data; name=\"a\"\nContent-Disposition: form-data; name=\"token\"\r\n\r\nb"),
            Fault::Header,
        ),
        (file("a"), Fault::Unterminated),
        (String::from("--XyZ\r\nContent-Disp"), Fault::Unterminated),
        (String::new(), Fault::Unterminated),
        (format!("--XyZ\r\nX: {}", "y".repeat(9000)), Fault::HeaderTooLong),
        (text("a", "b").repeat(300) + &end(), Fault::TooManyParts),
    ] {
        for cut in [1, 10_000] {
            let out = edit(vec![Edit::Remove("token".into())], body.as_bytes(), cut);
            assert_eq!(out.map(|out| out.escape_ascii().to_string()), Err(fault), "{body:?}");
        }
        let mut looking = Multipart::looking(&boundary());
        assert_eq!(run(&mut looking, body.as_bytes(), 4), Ok(body.into_bytes()), "who only looks lets it pass");
        assert_eq!(looking.fault(), Some(fault));
    }
}

#[test]
fn fields_that_are_read_have_a_limit() {
    let body = text("videoId", &"v".repeat(5000)) + &end();
    let mut strict = Multipart::editing(&boundary(), vec![Edit::Remove("token".into())]).expect("editor").wanting(&["videoId"]);
    assert_eq!(run(&mut strict, body.as_bytes(), 100), Err(Fault::FieldTooLong));
    let mut looking = Multipart::looking(&boundary()).wanting(&["videoId"]);
    assert_eq!(run(&mut looking, body.as_bytes(), 100), Ok(body.into_bytes()));
    assert_eq!(looking.parts()[0].value, None);
}

#[test]
fn a_value_cannot_end_its_own_part() {
    let smuggles = Edit::Replace(field("token", "x\r\n--XyZ\r\n"));
    assert_eq!(Multipart::editing(&boundary(), vec![smuggles]).err(), Some(Fault::Value));
    let out = edit(vec![Edit::Append(field("a\"\r\nb", "x"))], end().as_bytes(), 1000).expect("edited");
    assert!(out.starts_with(b"--XyZ\r\nContent-Disposition: form-data; name=\"a%22%0D%0Ab\"\r\n\r\nx\r\n--XyZ--"));
}

#[test]
fn a_field_can_be_chosen_by_those_that_came() {
    let choose = |parts: &[Part]| match parts.iter().find_map(|part| part.filename.as_deref()) {
        Some("a.mp4") if parts.len() > 1 => Ok(None),
        Some("a.mp4") => Ok(Some("vi1".to_owned())),
        _ => Err(Fault::Choice),
    };
    let edits = || vec![Edit::Chosen(Choice { name: "videoId".into(), length: 3, choose: std::rc::Rc::new(choose) })];
    let alone = edit(edits(), (file("f") + &end()).as_bytes(), 9).expect("chosen");
    assert_eq!(String::from_utf8_lossy(&alone), file("f") + &text("videoId", "vi1") + &end());
    let whole = file("f") + &text("videoId", "vi2") + &end();
    let kept = edit(edits(), whole.as_bytes(), 9).expect("kept");
    assert_eq!(String::from_utf8_lossy(&kept).trim_end(), whole.trim_end());
    assert_eq!(edit(edits(), (text("a", "b") + &end()).as_bytes(), 9), Err(Fault::Choice));
    let long = vec![Edit::Chosen(Choice { name: "a".into(), length: 2, choose: std::rc::Rc::new(|_| Ok(Some("abc".into()))) })];
    assert_eq!(edit(long, end().as_bytes(), 9), Err(Fault::Value));
}

/// Pieces of which bodies are made that readers disagree on.
fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just("--XyZ"),
        Just("\r\n"),
        Just("\n"),
        Just("\r"),
        Just("--"),
        Just("-"),
        Just(" "),
        Just("Xy"),
        Just("Z"),
        Just("Content-Disposition: form-data; name=\"token\""),
        Just("Content-Disposition: form-data; name=\"a\"; filename=\"b\""),
        Just("\r\n\r\n"),
        Just("\r\n--XyZ\r\n"),
        Just("\r\n--XyZ--"),
        Just("data"),
        Just("\0"),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat().into_bytes())
}

/// A reader of another house: lines may end as they like, padding is fine, and so is any case.
fn lax_names(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body).replace("\r\n", "\n").replace('\r', "\n");
    let mut names = Vec::new();
    let mut in_header = false;
    for line in text.split('\n') {
        let bare = line.trim_end();
        if bare == "--XyZ--" {
            break;
        }
        if bare == "--XyZ" {
            in_header = true;
        } else if in_header && bare.is_empty() {
            in_header = false;
        } else if in_header && let Some((_, name)) = bare.to_ascii_lowercase().split_once("name=\"") {
            names.push(name.split('"').next().unwrap_or_default().to_owned());
        }
    }
    names
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn who_only_looks_changes_nothing(body in pieces(), cut in 1_usize..9) {
        prop_assert_eq!(run(&mut Multipart::looking(&boundary()), &body, cut), Ok(body));
    }

    #[test]
    fn cuts_make_no_difference(front in "(--XyZ\r\n)?", body in pieces(), cut in 1_usize..9) {
        let body = [front.into_bytes(), body].concat();
        let edits = || vec![Edit::Replace(field("token", "s")), Edit::IfAbsent(field("a", "t"))];
        prop_assert_eq!(edit(edits(), &body, cut), edit(edits(), &body, 1000));
    }

    #[test]
    fn no_reader_sees_what_was_taken_out(body in pieces(), cut in 1_usize..9) {
        let body = [file("f").into_bytes(), body, b"\r\n--XyZ--".to_vec()].concat();
        if let Ok(out) = edit(vec![Edit::Remove("token".into())], &body, cut) {
            prop_assert!(!lax_names(&out).contains(&"token".to_owned()), "{}", out.escape_ascii());
        }
    }

    #[test]
    fn forms_come_out_as_they_should(fields in prop::collection::vec(("(token|a|b)", "[^\r\n-]{0,12}"), 0..5), content in prop::collection::vec(any::<u8>(), 0..200), cut in 1_usize..50) {
        let content: String = content.iter().map(|byte| char::from(*byte)).collect();
        prop_assume!(!content.contains("--XyZ"));
        let before: String = fields.iter().map(|(name, value)| text(name, value)).collect();
        let kept: String = fields.iter().filter(|(name, _)| name != "token").map(|(name, value)| text(name, value)).collect();
        let out = edit(vec![Edit::Replace(field("token", "s"))], (before + &file(&content) + &end()).as_bytes(), cut);
        let becomes = text("token", "s") + &kept + &file(&content) + &end();
        prop_assert!(out.expect("a good form").starts_with(becomes.as_bytes()));
    }
}
