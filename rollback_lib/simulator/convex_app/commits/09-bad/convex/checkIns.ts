import { v } from "convex/values";
import { internalMutation, mutation } from "./_generated/server";

const MONTH_MS = 30 * 24 * 60 * 60 * 1000;

export const record = mutation({
  args: { userId: v.id("users"), door: v.string() },
  handler: async (ctx, { userId, door }) => await ctx.db.insert("checkIns", { userId, door, at: Date.now() }),
});

export const forgetOld = internalMutation({
  args: {},
  handler: async (ctx) => {
    const old = await ctx.db
      .query("checkIns")
      .filter((q) => q.lt(q.field("at"), Date.now() - MONTH_MS))
      .take(500);
    for (const { _id } of old) await ctx.db.delete(_id);
  },
});
