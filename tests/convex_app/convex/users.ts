import { queryGeneric as query } from "convex/server";

export const list = query({ args: {}, handler: async (ctx) => await ctx.db.query("users").take(5) });
