"""Do two engines that hold the same weights say the same, and as surely?"""
