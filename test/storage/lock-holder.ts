// A process of its own that locks a directory, says so on its standard output and stays until
// killed. Arguments: the directory, the name of the flock program.
import { lockDir } from "#ringd/storage/lock.js";

const [dir = "", flockProgram = ""] = process.argv.slice(2);
const { kind } = lockDir(dir, flockProgram);
process.stdout.write(`${kind}\n`);
setInterval(() => {}, 60_000);
