// The entry point of all modules: it loads the others, each of which looks for its own place on the page and does nothing without it.
// Every page is complete without any of them.
import { keepTyped } from "./keep.js";
import { watchIdle } from "./idle.js";
import { takeFiles } from "./files.js";
import { sayBusy } from "./busy.js";

keepTyped();
watchIdle();
takeFiles();
sayBusy();
