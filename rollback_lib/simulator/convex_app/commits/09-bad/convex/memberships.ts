import { ConvexError, v } from "convex/values";
import { Id } from "./_generated/dataModel";
import { internalMutation, mutation, query, QueryCtx } from "./_generated/server";
import { plan } from "./schema";

const DAY_MS = 24 * 60 * 60 * 1000;

export const PLANS = {
  "18-month": { cents: 1495, every: "fortnight", days: 548, level: "essential" },
  "12-month": { cents: 1795, every: "fortnight", days: 365, level: "plus" },
  "no-lock-in": { cents: 2195, every: "fortnight", days: null, level: "plus" },
  "12-month-upfront": { cents: 74900, every: "once", days: 365, level: "black" },
} as const;

export async function currentMembership(ctx: QueryCtx, userId: Id<"users">) {
  const newest = await ctx.db
    .query("memberships")
    .withIndex("by_user", (q) => q.eq("userId", userId))
    .order("desc")
    .first();
  return newest?.status === "active" ? newest : null;
}

export const plans = query({
  args: {},
  handler: async () => Object.entries(PLANS).map(([name, { cents, every }]) => ({ name, cents, every })),
});

export const current = query({
  args: { userId: v.id("users") },
  handler: async (ctx, { userId }) => {
    const membership = await currentMembership(ctx, userId);
    return membership && { ...membership, level: membership.tier!.level };
  },
});

export const start = mutation({
  args: { userId: v.id("users"), plan },
  handler: async (ctx, args) => {
    if ((await currentMembership(ctx, args.userId)) !== null) throw new ConvexError("ALREADY_A_MEMBER");
    const { cents, every, days, level } = PLANS[args.plan];
    const startsAt = Date.now();
    return await ctx.db.insert("memberships", {
      ...args,
      status: "active",
      startsAt,
      endsAt: days === null ? null : startsAt + days * DAY_MS,
      price: { cents, every },
      pauses: [],
      tier: { level, since: startsAt },
    });
  },
});

export const expire = internalMutation({
  args: {},
  handler: async (ctx) => {
    const over = await ctx.db
      .query("memberships")
      .withIndex("by_status_and_end", (q) => q.eq("status", "active").gt("endsAt", 0).lt("endsAt", Date.now()))
      .take(200);
    for (const membership of over) await ctx.db.patch(membership._id, { status: "expired" });
    console.log(`${over.length} memberships expired`);
  },
});

export const backfillTier = internalMutation({
  args: {},
  handler: async (ctx) => {
    const without = await ctx.db
      .query("memberships")
      .withIndex("by_tier", (q) => q.eq("tier.level", undefined))
      .take(200);
    for (const { _id, plan, startsAt } of without) {
      await ctx.db.patch(_id, { tier: { level: PLANS[plan].level, since: startsAt } });
    }
    return without.length;
  },
});
