// Hooks what is imported, on versions of Node whose loader runs in a thread of its own.
import { createRequire } from "node:module";

const { loaded } = createRequire(import.meta.url)("./sources.cjs");

export const load = async (url, context, nextLoad) => loaded(url, await nextLoad(url, context));
