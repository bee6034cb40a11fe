//! The standard rooms: a rule in a function, served by a shell.
//!
//! A [`Filter`] takes one type and gives the next, or stops with an [`Error`]. [`FilterLayer`] makes
//! a tower layer of it whose inner service takes exactly what the rule gives, so that rooms in the
//! wrong order, or one left out, do not compile. A [`Decide`] is one that may have to wait. An [`Answer`] may end the walk well; an [`Around`] has
//! the answer pass through it, or the request go twice.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Response;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::{Body, Error};

/// A rule of the walk.
pub trait Filter<In> {
    /// What it gives to the next room.
    type Out;

    /// Decides. Must not wait.
    ///
    /// # Errors
    /// Why the request ends here.
    fn check(&self, input: In) -> Result<Self::Out, Error>;
}

/// Makes a tower layer of a rule.
#[derive(Debug, Clone)]
pub struct FilterLayer<F>(pub F);

/// A rule with the rest of the walk behind it.
#[derive(Debug, Clone)]
pub struct FilterService<F, S> {
    filter: F,
    inner: S,
}

impl<F: Clone, S> Layer<S> for FilterLayer<F> {
    type Service = FilterService<F, S>;

    fn layer(&self, inner: S) -> Self::Service {
        FilterService { filter: self.0.clone(), inner }
    }
}

impl<In, F, S> Service<In> for FilterService<F, S>
where
    F: Filter<In>,
    S: Service<F::Out, Response = Response<Body>, Error = Error>,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Error>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        // Rooms never queue: hyper runs one clone of the walk per request, so waiting here would be
        // an unbounded list of tasks.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, input: In) -> Self::Future {
        match self.filter.check(input) {
            Ok(next) => Either::Left { future: self.inner.call(next) },
            Err(error) => Either::Right { future: ready(Err(error)) },
        }
    }
}

/// What a rule has come to.
pub enum Decision<T> {
    /// This.
    Now(Result<T, Error>),
    /// What others have to be asked first.
    Later(Pin<Box<dyn Future<Output = Result<T, Error>>>>),
}

/// A rule that decides at once, but where it needs what only others know.
pub trait Decide<In> {
    /// What it gives to the next room.
    type Out;

    /// Decides.
    fn decide(&self, input: In) -> Decision<Self::Out>;
}

/// Makes a tower layer of a [`Decide`].
#[derive(Debug, Clone)]
pub struct DecideLayer<D>(pub D);

/// A rule that may wait, with the rest of the walk behind it.
#[derive(Debug, Clone)]
pub struct DecideService<D, S> {
    rule: D,
    inner: S,
}

impl<D: Clone, S> Layer<S> for DecideLayer<D> {
    type Service = DecideService<D, S>;

    fn layer(&self, inner: S) -> Self::Service {
        DecideService { rule: self.0.clone(), inner }
    }
}

impl<In, D, S> Service<In> for DecideService<D, S>
where
    D: Decide<In>,
    D::Out: 'static,
    S: Service<D::Out, Response = Response<Body>, Error = Error> + Clone + 'static,
    S::Future: 'static,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = Either<S::Future, Either<Ready<Result<Response<Body>, Error>>, Answered>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, input: In) -> Self::Future {
        match self.rule.decide(input) {
            Decision::Now(Ok(next)) => Either::Left { future: self.inner.call(next) },
            Decision::Now(Err(error)) => Either::Right { future: Either::Left { future: ready(Err(error)) } },
            Decision::Later(next) => {
                let mut inner = self.inner.clone();
                Either::Right { future: Either::Right { future: Box::pin(async move { inner.call(next.await?).await }) } }
            }
        }
    }
}

/// A rule that may answer by itself, without anything being wrong (preflights).
pub trait Answer<In> {
    /// The answer, if this request gets it here.
    fn answer(&self, input: &In) -> Option<Response<Body>>;
}

/// Makes a tower layer of an [`Answer`].
#[derive(Debug, Clone)]
pub struct AnswerLayer<A>(pub A);

/// An answering rule with the rest of the walk behind it.
#[derive(Debug, Clone)]
pub struct AnswerService<A, S> {
    answer: A,
    inner: S,
}

impl<A: Clone, S> Layer<S> for AnswerLayer<A> {
    type Service = AnswerService<A, S>;

    fn layer(&self, inner: S) -> Self::Service {
        AnswerService { answer: self.0.clone(), inner }
    }
}

impl<In, A, S> Service<In> for AnswerService<A, S>
where
    A: Answer<In>,
    S: Service<In, Response = Response<Body>, Error = Error>,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = Either<S::Future, Ready<Result<Response<Body>, Error>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, input: In) -> Self::Future {
        match self.answer.answer(&input) {
            Some(response) => Either::Right { future: ready(Ok(response)) },
            None => Either::Left { future: self.inner.call(input) },
        }
    }
}

/// An answer that is waited for behind a pointer.
pub type Answered = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>>>>;

/// A rule around the rest of the walk, which sees both the request and its answer.
pub trait Around<In> {
    /// What it gives to the next room.
    type Next;

    /// Sends the request on. Where the rule has nothing to do with it, that is the inner service's own future, and costs nothing.
    fn send<S>(&self, inner: &mut S, input: In) -> Either<S::Future, Answered>
    where
        S: Service<Self::Next, Response = Response<Body>, Error = Error> + Clone + 'static,
        S::Future: 'static;
}

/// Makes a tower layer of an [`Around`].
#[derive(Debug, Clone)]
pub struct AroundLayer<A>(pub A);

/// A rule around the rest of the walk, with that behind it.
#[derive(Debug, Clone)]
pub struct AroundService<A, S> {
    around: A,
    inner: S,
}

impl<A: Clone, S> Layer<S> for AroundLayer<A> {
    type Service = AroundService<A, S>;

    fn layer(&self, inner: S) -> Self::Service {
        AroundService { around: self.0.clone(), inner }
    }
}

impl<In, A, S> Service<In> for AroundService<A, S>
where
    A: Around<In>,
    S: Service<A::Next, Response = Response<Body>, Error = Error> + Clone + 'static,
    S::Future: 'static,
{
    type Response = Response<Body>;
    type Error = Error;
    type Future = Either<S::Future, Answered>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, input: In) -> Self::Future {
        self.around.send(&mut self.inner, input)
    }
}

pin_project! {
    /// One of two futures with the same output.
    #[project = EitherProj]
    #[allow(missing_docs, reason = "the field is the future")]
    pub enum Either<A, B> {
        /// The first.
        Left { #[pin] future: A },
        /// The second.
        Right { #[pin] future: B },
    }
}

impl<A: Future, B: Future<Output = A::Output>> Future for Either<A, B> {
    type Output = A::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<A::Output> {
        match self.project() {
            EitherProj::Left { future } => future.poll(cx),
            EitherProj::Right { future } => future.poll(cx),
        }
    }
}
