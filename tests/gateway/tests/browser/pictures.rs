//! Not a test: what `make screenshots` takes, dark and light, on a screen and on a phone.

use std::fs;
use std::path::PathBuf;

use crate::looks::{PATHS, PHONE, SCREEN, fleet, open};
use crate::world::world;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "make screenshots takes them"]
async fn pictures() {
    let folder = std::env::var_os("VMKIT_PICTURES").expect("VMKIT_PICTURES is a folder");
    let folder = PathBuf::from(folder);
    fs::create_dir_all(&folder).expect("a folder for pictures");
    world(async |world| {
        let _agents = fleet(world).await;
        world.set_size(SCREEN.0, SCREEN.1, false).await;
        world.open("/sign-in").await;
        fs::write(folder.join("sign-in.png"), world.picture().await).expect("room for a picture");
        world.sign_in().await;
        for (name, path) in PATHS {
            for (screen, size) in [("desktop", SCREEN), ("phone", PHONE)] {
                for (light, is_dark) in [("light", false), ("dark", true)] {
                    world.set_size(size.0, size.1, size == PHONE).await;
                    world.set_dark(is_dark).await;
                    open(world, path).await;
                    let file = folder.join(format!("{name}-{screen}-{light}.png"));
                    fs::write(file, world.picture().await).expect("room for a picture");
                }
            }
        }
    })
    .await;
}
