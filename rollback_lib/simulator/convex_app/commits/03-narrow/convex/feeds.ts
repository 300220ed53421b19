import { v } from "convex/values";
import { query } from "./_generated/server";

// The calendar that trainers subscribe to.
export const trainerCalendar = query({
  args: { trainerId: v.id("users"), token: v.string() },
  handler: async (ctx, { trainerId, token }) => {
    if (token !== process.env.TRAINER_FEED_TOKEN) throw new Error("Wrong token");
    const bookings = await ctx.db
      .query("bookings")
      .withIndex("by_trainer", (q) => q.eq("trainerId", trainerId).gte("startsAt", Date.now()))
      .take(100);
    return bookings.map(({ startsAt, minutes }) => ({ startsAt, minutes }));
  },
});
