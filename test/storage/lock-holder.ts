// A process that locks a directory, reports it on standard output and waits to be killed.
// Arguments: the directory, the name of the flock program.
import { lockDir } from "#ringd/storage/lock.js";

const [dir = "", flockProgram = ""] = process.argv.slice(2);
const { kind } = lockDir(dir, flockProgram);
process.stdout.write(`${kind}\n`);
setInterval(() => {}, 60_000);
