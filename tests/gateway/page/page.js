// What every page does with the stream: the warning of lost agents, and fresh content.

import { subscribe } from "./stream.js";

subscribe("fleet", () => {});
