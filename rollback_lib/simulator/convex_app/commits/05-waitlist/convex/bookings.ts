import { v } from "convex/values";
import { internal } from "./_generated/api";
import { Doc } from "./_generated/dataModel";
import { internalMutation, mutation, MutationCtx, query } from "./_generated/server";

const HOUR_MS = 60 * 60 * 1000;

export const listForTrainer = query({
  args: { trainerId: v.id("users"), from: v.number(), to: v.number() },
  handler: async (ctx, { trainerId, from, to }) =>
    await ctx.db
      .query("bookings")
      .withIndex("by_trainer", (q) => q.eq("trainerId", trainerId).gte("startsAt", from).lt("startsAt", to))
      .take(200),
});

export const listForUser = query({
  args: { userId: v.id("users") },
  handler: async (ctx, { userId }) =>
    await ctx.db
      .query("bookings")
      .withIndex("by_user", (q) => q.eq("userId", userId))
      .order("desc")
      .take(20),
});

export const create = mutation({
  args: {
    userId: v.id("users"),
    trainerId: v.id("users"),
    startsAt: v.number(),
    minutes: v.number(),
    notes: v.optional(v.string()),
  },
  handler: async (ctx, args) => {
    const there = await ctx.db
      .query("bookings")
      .withIndex("by_trainer", (q) => q.eq("trainerId", args.trainerId).eq("startsAt", args.startsAt))
      .filter((q) => q.eq(q.field("status"), "booked"))
      .first();
    if (there !== null) return await joinWaitlist(ctx, args);
    const bookingId = await ctx.db.insert("bookings", { ...args, status: "booked" });
    await ctx.scheduler.runAt(args.startsAt - 2 * HOUR_MS, internal.bookings.remind, { bookingId });
    return bookingId;
  },
});

type Wish = Pick<Doc<"bookings">, "userId" | "trainerId" | "startsAt" | "minutes" | "notes">;

async function joinWaitlist(ctx: MutationCtx, wish: Wish) {
  const before = await ctx.db
    .query("bookings")
    .withIndex("by_trainer", (q) => q.eq("trainerId", wish.trainerId).eq("startsAt", wish.startsAt))
    .filter((q) => q.eq(q.field("status"), "waitlisted"))
    .collect();
  const waitlist = { position: before.length + 1, joinedAt: Date.now() };
  return await ctx.db.insert("bookings", { ...wish, status: "waitlisted", waitlist });
}

export const cancel = mutation({
  args: { bookingId: v.id("bookings") },
  handler: async (ctx, { bookingId }) => {
    await ctx.db.patch(bookingId, { status: "cancelled" });
  },
});

export const remind = internalMutation({
  args: { bookingId: v.id("bookings") },
  handler: async (ctx, { bookingId }) => {
    const booking = await ctx.db.get(bookingId);
    if (booking === null || booking.status !== "booked") return;
    const from = process.env.MAIL_FROM;
    if (from === undefined) throw new Error("MAIL_FROM is not set");
    await ctx.db.insert("notifications", {
      userId: booking.userId,
      from,
      subject: "Your session today",
      body: `It begins at ${new Date(booking.startsAt).toISOString()}.`,
    });
  },
});

export const closePast = internalMutation({
  args: {},
  handler: async (ctx) => {
    const past = await ctx.db
      .query("bookings")
      .withIndex("by_status", (q) => q.eq("status", "booked").lt("startsAt", Date.now() - HOUR_MS))
      .take(200);
    for (const booking of past) await ctx.db.patch(booking._id, { status: "completed" });
    // The rest in a transaction of its own.
    if (past.length === 200) await ctx.scheduler.runAfter(0, internal.bookings.closePast, {});
  },
});
