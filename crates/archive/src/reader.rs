//! [`Archive`]: lists and reads the objects of an archive.

use std::fs::DirEntry;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sluicegate_aws_client::{AwsEnvironment, S3Client, S3Error};
use sluicegate_envelope::Envelope;
use tokio::time::Instant;

use crate::object::{self, OBJECT_BYTES_MAX, ObjectError};
use crate::{Hour, ObjectKey, PREFIX};

/// Longest call to S3, all attempts with their pauses.
const CALL_TIME_MAX: Duration = Duration::from_secs(60);

/// Objects that are read at once.
const READS_AT_ONCE: usize = 8;

/// Where the objects are.
#[derive(Debug)]
pub enum Archive {
    /// A bucket.
    S3(Box<S3Client>),
    /// A folder with a copy of the bucket, or of a part of it: it has the folder `archive`.
    Folder(PathBuf),
}

/// An archive that cannot be listed or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// S3 does not list the bucket.
    #[error("the bucket {bucket} cannot be listed: {source}")]
    List {
        /// The bucket.
        bucket: String,
        /// What S3 answered.
        source: Box<S3Error>,
    },
    /// S3 does not return an object.
    #[error("{key} cannot be read: {source}")]
    Get {
        /// The key of the object.
        key: String,
        /// What S3 answered.
        source: Box<S3Error>,
    },
    /// A file or folder cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    File {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An object is damaged, or was not written by the archiver.
    #[error("{key} {source}: move it elsewhere to go on without it")]
    Object {
        /// The key of the object.
        key: String,
        /// What is wrong with it.
        source: ObjectError,
    },
}

impl Archive {
    /// Returns the archive in a bucket, without calling S3.
    #[must_use]
    pub fn in_bucket(environment: &AwsEnvironment, bucket: &str) -> Self {
        Self::S3(Box::new(S3Client::new(environment, bucket)))
    }

    /// Returns the keys of the hours from `first` to `last`, both included, in their order. Other objects are ignored.
    ///
    /// # Errors
    /// The bucket or a folder cannot be listed.
    pub async fn keys(&self, first: Hour, last: Hour) -> Result<Vec<ObjectKey>, ArchiveError> {
        let mut keys = match self {
            Self::S3(client) => list(client, first, last).await?,
            Self::Folder(folder) => walk(folder.join(PREFIX), 3)?
                .iter()
                .filter_map(|path| {
                    let below = path.strip_prefix(folder).ok()?;
                    let parts: Option<Vec<&str>> = below.iter().map(|part| part.to_str()).collect();
                    ObjectKey::parse(&parts?.join("/"))
                })
                .filter(|key| (first..=last).contains(&key.hour()))
                .collect(),
        };
        keys.sort_unstable();
        Ok(keys)
    }

    /// Returns the events of these objects in the order of their time. An event may be among them more than once.
    ///
    /// # Errors
    /// An object cannot be read.
    pub async fn events(&self, keys: &[ObjectKey]) -> Result<Vec<Envelope>, ArchiveError> {
        let objects = stream::iter(keys).map(|key| self.object(key)).buffer_unordered(READS_AT_ONCE);
        let mut events: Vec<Envelope> = objects.try_concat().await?;
        // All but the time in the order of the keys, so that a second run has the same order.
        events.sort_by(|a, b| (a.time(), a.id(), a.source()).cmp(&(b.time(), b.id(), b.source())));
        Ok(events)
    }

    async fn object(&self, key: &ObjectKey) -> Result<Vec<Envelope>, ArchiveError> {
        let name = key.to_string();
        let bytes = match self {
            Self::S3(client) => {
                // The compressed text is smaller, or a little larger if it cannot be compressed.
                let object = client.get(&name, 2 * OBJECT_BYTES_MAX, Instant::now() + CALL_TIME_MAX).await;
                object.map_err(|source| ArchiveError::Get { key: name.clone(), source: source.into() })?.to_vec()
            }
            Self::Folder(folder) => {
                let path = folder.join(&name);
                std::fs::read(&path).map_err(|source| ArchiveError::File { path, source })?
            }
        };
        object::read(&bytes).map_err(|source| ArchiveError::Object { key: name, source })
    }
}

/// Lists the objects of the hours in S3. Keys are in the order of their hours, so other hours are not listed.
async fn list(client: &S3Client, first: Hour, last: Hour) -> Result<Vec<ObjectKey>, ArchiveError> {
    let (mut keys, mut after) = (Vec::new(), format!("{PREFIX}{first}"));
    loop {
        let page = client.list(PREFIX, &after, Instant::now() + CALL_TIME_MAX).await;
        let page =
            page.map_err(|source| ArchiveError::List { bucket: client.bucket().to_owned(), source: source.into() })?;
        for key in page.keys.iter().filter_map(|key| ObjectKey::parse(key)) {
            if key.hour() > last {
                return Ok(keys);
            }
            keys.push(key);
        }
        match page.keys.into_iter().last().filter(|_| page.is_truncated) {
            Some(key) => after = key,
            None => return Ok(keys),
        }
    }
}

/// Returns the files that are so many folders below a folder.
fn walk(folder: PathBuf, depth: usize) -> Result<Vec<PathBuf>, ArchiveError> {
    let entries = std::fs::read_dir(&folder).and_then(Iterator::collect::<Result<Vec<DirEntry>, _>>);
    let entries = entries.map_err(|source| ArchiveError::File { path: folder, source })?;
    let mut files = Vec::new();
    for path in entries.into_iter().map(|entry| entry.path()) {
        match depth {
            0 => files.push(path),
            _ if path.is_dir() => files.extend(walk(path, depth - 1)?),
            _ => {}
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    /// Writes an object of one event for each `(id, hour)`.
    fn folder(events: &[(&str, i64)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (id, hour) in events {
            let time = OffsetDateTime::from_unix_timestamp(hour * 3_600).unwrap();
            let event = Envelope::builder(*id, "/a", "order.placed").time(time).build().unwrap();
            let text = object::line(&event);
            let path = folder.path().join(ObjectKey::new(Hour::of(time), "order.placed", &text).to_string());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, object::write(&text)).unwrap();
        }
        folder
    }

    fn hour(hour: i64) -> Hour {
        Hour::of(OffsetDateTime::from_unix_timestamp(hour * 3_600).unwrap())
    }

    #[tokio::test]
    async fn a_folder_is_read_in_the_order_of_time() {
        let folder = folder(&[("e-3", 30), ("e-1", 10), ("e-2", 20), ("e-0", 9), ("e-4", 31)]);
        std::fs::write(folder.path().join("archive/notes.txt"), "not an object").unwrap();
        std::fs::create_dir(folder.path().join("archive/other")).unwrap();
        let archive = Archive::Folder(folder.path().to_owned());
        let keys = archive.keys(hour(10), hour(30)).await.unwrap();
        assert_eq!(keys.iter().map(ObjectKey::hour).collect::<Vec<_>>(), [hour(10), hour(20), hour(30)]);
        let events = archive.events(&keys).await.unwrap();
        assert_eq!(events.iter().map(Envelope::id).collect::<Vec<_>>(), ["e-1", "e-2", "e-3"]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_named() {
        let folder = folder(&[("e-1", 10)]);
        let archive = Archive::Folder(folder.path().to_owned());
        let keys = archive.keys(hour(10), hour(10)).await.unwrap();
        std::fs::write(folder.path().join(keys[0].to_string()), "{}").unwrap();
        let error = archive.events(&keys).await.unwrap_err().to_string();
        assert!(error.starts_with("archive/date=1970-01-01/hour=10/event_type=order.placed/"), "{error}");
        assert!(error.contains("is not compressed with zstd"), "{error}");
        let absent = Archive::Folder(folder.path().join("absent"));
        let error = absent.keys(hour(10), hour(10)).await.unwrap_err().to_string();
        assert!(error.contains("absent/archive/ cannot be read"), "{error}");
    }
}
