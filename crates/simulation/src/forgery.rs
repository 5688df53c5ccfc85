//! [`Forgery`]: what is wrong with the credentials of a request that an attacker has sent.

use crate::credentials::Scheme;
use crate::dice::Dice;

/// One of so many requests with a signature or a token is forged before it is sent.
const FORGED_EVERY: u32 = 8;

/// What is wrong with a signature or a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgery {
    /// It is made with another key.
    OtherKey,
    /// It is made with the key before the rotation, once no execution environment may accept it; with another key
    /// until then.
    RetiredKey,
    /// The signature is that of a webhook with another body.
    OtherBody,
    /// The signature is that of a webhook with another id.
    OtherId,
    /// The token names a key that its issuer does not have.
    UnknownKey,
    /// The token is for another API of its issuer.
    OtherAudience,
    /// It is that of long ago.
    Replayed,
    /// Its time is far in the future.
    Postdated,
}

impl Forgery {
    /// Returns the forged request that comes before this message, if there is one.
    pub(crate) fn before(dice: &Dice, message: u32, scheme: Scheme) -> Option<Self> {
        let possible = match scheme {
            Scheme::ApiKey => return None,
            Scheme::Webhook => {
                [Self::OtherKey, Self::RetiredKey, Self::OtherBody, Self::OtherId, Self::Replayed, Self::Postdated]
            }
            Scheme::Token => [
                Self::OtherKey,
                Self::RetiredKey,
                Self::UnknownKey,
                Self::OtherAudience,
                Self::Replayed,
                Self::Postdated,
            ],
        };
        let mut rng = dice.about("forgery", u64::from(message));
        (rng.u32(0..FORGED_EVERY) == 0).then(|| rng.choice(possible)).flatten()
    }
}
