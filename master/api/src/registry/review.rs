//! Questions of `authentication.k8s.io/v1` and `authorization.k8s.io/v1`: created, answered, not kept.

use crate::resource::{Question, Row};

const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";

/// Who asks.
pub(super) static SELF_SUBJECT_REVIEWS: Row = Row::question(
    AUTHENTICATION,
    "SelfSubjectReview",
    "selfsubjectreviews",
    "selfsubjectreview",
    Question::Oneself,
);

/// Whose a token is.
pub(super) static TOKEN_REVIEWS: Row =
    Row::question(AUTHENTICATION, "TokenReview", "tokenreviews", "tokenreview", Question::Token);

/// What somebody may do in a namespace.
pub(super) static LOCAL_SUBJECT_ACCESS_REVIEWS: Row = Row {
    namespaced: true,
    ..Row::question(
        AUTHORIZATION,
        "LocalSubjectAccessReview",
        "localsubjectaccessreviews",
        "localsubjectaccessreview",
        Question::LocalAccess,
    )
};

/// What the one who asks may do.
pub(super) static SELF_SUBJECT_ACCESS_REVIEWS: Row = Row::question(
    AUTHORIZATION,
    "SelfSubjectAccessReview",
    "selfsubjectaccessreviews",
    "selfsubjectaccessreview",
    Question::OwnAccess,
);

/// All that the one who asks may do in a namespace.
pub(super) static SELF_SUBJECT_RULES_REVIEWS: Row = Row::question(
    AUTHORIZATION,
    "SelfSubjectRulesReview",
    "selfsubjectrulesreviews",
    "selfsubjectrulesreview",
    Question::OwnRules,
);

/// What somebody may do.
pub(super) static SUBJECT_ACCESS_REVIEWS: Row = Row::question(
    AUTHORIZATION,
    "SubjectAccessReview",
    "subjectaccessreviews",
    "subjectaccessreview",
    Question::Access,
);
